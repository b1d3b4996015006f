"""Bodies that slide, swing and spin: friction on an incline, and what becomes of energy."""

from __future__ import annotations

import math

import numpy as np

from ..errors import OptionError
from ..sim.core import Outcome
from ..sim.mesh import Mesh
from ..sim.mesh_shapes import sheet, tetrahedral_box
from ..sim.solid import Contact, Kinematic, Rigid, Solid, SolidModel, SolidSolver, StableNeoHookean
from .case import Check, Measured, case, require_choice, require_range

GRAVITY = 9.81
"""[m/s^2]."""
DT = 0.005
"""[s]."""


@case("solid.incline", source="Coulomb friction: at rest below the angle of friction, else g (sin a - mu cos a)", tolerance=0.01)
def incline(mu: float = 0.3, angle: float = 25.0, drift: int = 0) -> Measured:
    """A rigid block on an inclined plane, let go at rest.

    Args:
        mu: coefficient of friction.
        angle: of the plane [degrees].
        drift: 1 to report the speed of a block that should rest, with a friction speed of 1e-6 m/s, instead of the acceleration.

    Returns:
        Acceleration along the plane [m/s^2]; errors are relative to g sin a.
    """
    require_range(low=-1e-9, mu=mu)
    require_range(high=80.0, angle=angle)
    slope = math.radians(angle)
    reach, gap = 1e-3, 5e-4
    block = tetrahedral_box((0.1, 0.06, 0.04), (3, 2, 1))
    block = Mesh(block.vertices + np.array([0.0, 0.0, gap]), block.faces)
    plane = sheet(2.0, 0.5, 1, 1)
    plane = Mesh(plane.vertices - np.array([0.5, 0.2, 0.0]), plane.faces)
    holds = mu > math.tan(slope)
    if drift and not holds:
        raise OptionError("drift=1 is for a block that holds; lower the angle or raise mu.")
    contact = Contact(reach, friction=mu, friction_speed=1e-6 if holds else 1e-4)
    bodies = [Rigid(block, "block", density=1000.0), Kinematic(plane, "plane")]
    state, places = None, []
    # The block settles on a plane that is level, before its weight is tilted bit by bit, so that it does not rock.
    for tilt, steps in ((0.0, 40), *((part, 1) for part in np.linspace(0.0, 1.0, 21)[1:-1]), (1.0, 60)):
        gravity = [tilt * GRAVITY * math.sin(slope), 0.0, -GRAVITY * math.cos(slope)]
        solver = SolidSolver(SolidModel(bodies, dt=DT, gravity=gravity, contact=contact, tolerance=1e-10))
        state = solver.initial_state() if state is None else state
        for _ in range(steps):
            state = solver.step(state, solver.rest_control())
            places.append(float(solver.pose(state, "block")[0][0, 0]))
            if state.outcomes() != [Outcome.OK]:
                return Measured(math.nan, math.nan, math.nan)
    speed = np.diff(places[-60:]) / DT
    late = len(speed) // 2
    value = float((speed[-1] - speed[late]) / (DT * (len(speed) - 1 - late)))
    reference = 0.0 if holds else GRAVITY * (math.sin(slope) - mu * math.cos(slope))
    further = [Check("drift when stuck [m/s]", float(np.abs(speed[late:]).max()), 1e-6)] if holds else []
    return Measured(value, reference, abs(value - reference) / (GRAVITY * math.sin(slope)), further)


@case("solid.energy", source="Conservation of energy; orders of implicit Euler and BDF2 (Hairer and Wanner 1996)", tolerance=0.01)
def energy(integrator: str = "bdf2", dt: float = 1e-3) -> Measured:
    """A soft bar that spins, throbs and falls freely: its whole energy after a tenth of a second.

    Args:
        integrator: implicit_euler or bdf2.
        dt: time step [s].

    Returns:
        Energy over that at the start, without the weight's; its loss must fall with the order of the method when the step is halved, and
        energy must never be gained.
    """
    require_choice("integrator", integrator, ("implicit_euler", "bdf2"))
    require_range(high=5e-3, dt=dt)
    runs = [_tumble(integrator, dt * share) for share in (1.0, 0.5)]
    losses = [1.0 - run[-1] for run in runs]
    order = math.log2(losses[0] / losses[1]) if min(losses) > 0 else math.nan
    known = {"implicit_euler": 1.0, "bdf2": 2.0}[integrator]
    gained = max(float(np.max(np.diff(run))) for run in runs)
    further = [Check("shortfall of the order", known - order, 0.15), Check("energy gained in a step", gained, 1e-3)]
    return Measured(runs[0][-1], 1.0, abs(losses[0]), further, 0.01 if integrator == "bdf2" else 0.15)


def _tumble(integrator: str, dt: float) -> np.ndarray:
    """Energy after every step, over that at the start."""
    bar = tetrahedral_box((0.2, 0.05, 0.05), (6, 2, 2))
    centre = 0.5 * bar.vertices.max(0)
    arm = bar.vertices - centre
    velocity = np.cross([0.0, 3.0, 6.0], arm) + 2.0 * arm * np.array([1.0, 0.0, 0.0])
    body = Solid(bar, "bar", material=StableNeoHookean(1000.0, 2e4, 0.3), velocity=velocity)
    solver = SolidSolver(SolidModel([body], dt=dt, integrator=integrator, tolerance=1e-9))
    state, control = solver.initial_state(), solver.rest_control()

    def total() -> float:
        return float(sum(solver.energies(state).values()))

    found = [total()]
    kinetic = float(solver.energies(state)["kinetic"])
    for _ in range(round(0.1 / dt)):
        state = solver.step(state, control)
        if state.outcomes() != [Outcome.OK]:
            return np.array([math.nan])
        found.append(total())
    return 1.0 + (np.array(found) - found[0]) / kinetic
