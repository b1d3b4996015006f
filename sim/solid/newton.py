"""One implicit step: Newton's method on the incremental potential, filtered by continuous collision detection.

Li et al. 2020, "Incremental potential contact", with three differences. The exact Hessian is tried first and projected blocks are taken only
where it is not positive definite (Longva et al. 2023, "Pitfalls of projection"). Prescribed unknowns move with the search direction, as far
as nothing is in their way. And friction is not lagged: from where lagged friction has brought the step, Newton's method goes on with the
Jacobian of the whole force, normal forces and tangents included, until friction belongs to the very state that it leads to.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import rslab

from ..core import Outcome
from .assembly import Floats, Pattern
from .linearised import Linearised
from .potential import Potential, StepData, Structure, Surface

SHRINK = 0.9
"""Share of the way to the first touch that a step takes."""
SMALLEST = 1e-10
"""A line search gives up below this share of the direction."""
COARSE = 1e4
"""How much less exactly lagged friction is solved at first than friction that is not,"""
NEARLY = 0.1
"""but not less than to this share of the activation distance."""
PATIENCE = 3
"""After every so many lags, one more is averaged,"""
MOST_LAGS = 4
"""and at most so many."""
WATCHDOG = 3
"""So many steps whose corrections do not shrink are borne."""
MOST_COUPLED = 20
"""Steps of Newton's method on the force between two lags,"""
SHORTEST = 0.1
"""none of which is halved once it is shorter than this."""
BLUR = 1e-9
"""Changes of energy below this share of its largest part are not trusted."""
CROWDED = 0.05
"""Where a gap falls below this share of the activation distance, the barrier is too soft."""
WIDER = 1.1
"""A step that widens such a gap by this factor is not the last one."""
STIFFEN = 4.0
"""By how much it is stiffened then."""
REST = 5
"""At least so many iterations lie between two stiffenings within a minimisation."""
MOST_STIFFENINGS = 12
"""How often in a step: 1.7e7 times in all."""


@dataclasses.dataclass
class Solution:
    """Where a step ended and what it took."""

    unknowns: Floats
    outcome: Outcome
    stiffness: float
    """Of the barrier [Pa]."""
    iterations: int = 0
    """Of Newton's method, in all phases."""
    factorizations: int = 0
    touching: int = 0
    """Pairs of surface elements within the activation distance."""


class _StuckError(Exception):
    """The step cannot be finished."""


def solve_step(structure: Structure, data: StepData, stiffness: float, activation: float, tolerance: float, most: int) -> Solution:
    """Finds the state at the end of a step.

    Args:
        structure: what all steps share.
        data: this step.
        stiffness: of the contact barrier at the start [Pa].
        activation: its activation distance [m].
        tolerance: largest speed of a node in the last Newton step [m/s].
        most: Newton iterations before it gives up.
    """
    surface = Surface(structure, len(data.start)) if structure.surface is not None else None
    run = _Run(Potential(structure, data, surface), stiffness, activation, tolerance, most)
    outcome = Outcome.OK
    try:
        run.solve()
    except _StuckError:
        outcome = Outcome.NOT_CONVERGED if np.isfinite(run.u).all() else Outcome.NOT_FINITE
    return Solution(run.u, outcome, run.potential.stiffness, run.iterations, run.factorizations, run.touching())


class _Run:
    def __init__(self, potential: Potential, stiffness: float, activation: float, tolerance: float, most: int) -> None:
        self.potential, self.data = potential, potential.data
        self.structure, self.surface = potential.structure, potential.surface
        potential.stiffness = stiffness
        self.activation, self.most = activation, most
        self.limit = tolerance * potential.data.span
        self.u = potential.data.start
        if self.surface is not None:
            self.surface.contact.start(self.surface.positions(self.u))
        self.free = self.structure.free
        self.held = np.setdiff1d(np.arange(len(self.u)), self.free)
        self.iterations = self.factorizations = self.stiffened = self.rounds = 0
        self.cornered = False

    def touching(self) -> int:
        """How many pairs are within reach of each other."""
        return 0 if self.surface is None else len(self.surface.collisions(self.u))

    def solve(self) -> None:
        """Brings `u` to the solution, or raises _StuckError."""
        rubs = self.surface is not None and bool((self.data.friction > 0).any())
        coarse = COARSE if rubs else 1.0
        while True:
            if rubs:
                self.lag()
            self.minimise(min(coarse * self.limit, max(self.limit, NEARLY * self.activation)))
            if self.too_soft():
                self.stiffen()
            elif rubs and self.touching():
                if self.couple() and not self.too_soft():
                    return
                coarse = max(1.0, 1e-2 * coarse)
            elif coarse == 1.0:
                return
            else:
                coarse = 1.0

    def lag(self) -> None:
        """Takes normal forces and tangents of friction from where the step is now."""
        assert self.surface is not None
        place, pairs = self.surface.positions(self.u), self.surface.collisions(self.u)
        new = self.surface.contact.friction_set(place, pairs, self.potential.stiffness, self.data.friction)
        self.potential.friction = [*self.potential.friction, new][-min(MOST_LAGS, 1 + self.rounds // PATIENCE) :]
        self.rounds += 1

    def too_soft(self) -> bool:
        """Whether some gap has become so small that the barrier must stiffen."""
        if self.surface is None:
            return False
        gap = self.surface.contact.smallest_gap(self.surface.positions(self.u), self.surface.collisions(self.u))
        return gap < CROWDED * self.activation

    def opening(self, direction: Floats) -> bool:
        """Whether a direction, however short, widens the smallest gap much, where that is so small that the barrier would be stiffened.

        Newton's method about doubles a gap that is far too small; within a loose limit that is no motion, and yet no solution.
        """
        if self.surface is None or not self.too_soft():
            return False
        gaps = []
        for u in (self.u, self.u + self.reach(direction) * direction):
            gaps.append(self.surface.contact.smallest_gap(self.surface.positions(u), self.surface.collisions(u)))
        return gaps[1] > WIDER * gaps[0]

    def stiffen(self) -> None:
        """Makes the barrier stiffer; what not even a much stiffer one keeps apart is pressed together by prescribed motion."""
        self.potential.stiffness *= STIFFEN
        self.stiffened += 1
        if self.stiffened > MOST_STIFFENINGS:
            raise _StuckError

    def count(self) -> None:
        """One more iteration."""
        self.iterations += 1
        if self.iterations > self.most:
            raise _StuckError

    # ---- the potential with lagged friction

    def minimise(self, limit: float) -> None:
        """Newton's method with a line search on the potential, until it moves nothing by more than `limit` [m]."""
        energy, share, rested = None, 1.0, -REST
        while True:
            self.count()
            ahead = self.data.target[self.held] - self.u[self.held]
            # Where something is in the way, every other iteration lets the free unknowns give way.
            driven = bool(ahead.any()) and share > 0.1
            direction, exact, slope = self.direction(ahead if driven else None)
            small = self.size(direction) <= limit and not self.opening(direction)
            arrived = not ahead.any()
            if small and exact and arrived:
                # The last step is taken too: it squares the error.
                self.u = self.u + self.reach(direction) * direction
                return
            share = self.reach(direction)
            if share < 0.1 and self.iterations >= rested + REST and self.too_soft():
                self.stiffen()  # or the gap would shrink on, in ever shorter steps
                energy, rested = None, self.iterations
                continue
            if driven:
                share = self.drive(direction, share)
                energy = None
                continue
            if energy is None:
                energy = self.potential.energy(self.u)
            share, energy = self.search(direction, share, slope, energy)
            self.cornered = share < 0.05 and not exact
            self.u = self.u + share * direction
            if small and arrived:
                return
            share = 1.0

    def drive(self, direction: Floats, share: float) -> float:
        """Moves prescribed unknowns towards their targets, the free ones giving way to first order; returns how far."""
        while share > SMALLEST:
            trial = self.u + share * direction
            if share == 1.0:
                trial[self.held] = self.data.target[self.held]
            if np.isfinite(self.potential.energy(trial)):
                self.u = trial
                return share
            share *= 0.5
        raise _StuckError

    def search(self, direction: Floats, share: float, slope: float, energy: float) -> tuple[float, float]:
        """A share of the direction that lowers the energy enough (Armijo), and the energy there."""
        while share > SMALLEST:
            place = self.u + share * direction
            trial = self.potential.energy(place)
            if trial <= energy + 1e-4 * share * slope:
                return share, trial
            # Near the end rounding hides what the energy does; there the slope must have become flatter (Hager and Zhang 2005).
            if trial <= energy + BLUR * self.potential.scale and -share * slope <= BLUR * self.potential.scale:
                flatter = abs(float(self.potential.gradient(place)[self.free] @ direction[self.free]))
                if flatter <= 0.9 * abs(slope):
                    return share, trial
            share *= 0.5
        raise _StuckError

    def direction(self, ahead: Floats | None) -> tuple[Floats, bool, float]:
        """The Newton direction [U], whether the exact Hessian gave it, and the slope of the potential along it.

        Args:
            ahead: how far prescribed unknowns still have to go, or None.
        """
        gradient = self.potential.gradient(self.u)
        if not np.isfinite(gradient).all():
            raise _StuckError
        out = np.zeros_like(self.u)
        # Where projected blocks led nowhere, the exact Hessian with a raised diagonal is tried in their place.
        for project in (False,) if self.cornered else (False, True):
            blocks = self.potential.blocks(self.u, project)
            contact = self.potential.contact_matrices(self.u, project)
            pull = gradient
            if ahead is not None:
                out[:] = 0.0
                out[self.held] = ahead
                pull = gradient + self.structure.assembly.times(blocks, out) + sum(matrix.times(out) for matrix in contact)
            pattern, values = self.potential.matrix(blocks, contact)
            factor = self.factor(pattern, values, last=project or self.cornered)
            if factor is not None:
                out[self.free] = -factor.solve(pull[self.free])
                return out, not project and not self.cornered, float(out[self.free] @ gradient[self.free])
        raise _StuckError

    def factor(self, pattern: Pattern, values: Floats, last: bool) -> rslab.Ldlt | None:
        """A factor of a positive definite matrix; None where it is not definite.

        Where even projected blocks leave it singular (nothing holds a body in a static step), the diagonal is raised until it is not.
        """
        self.factorizations += 1
        factor = pattern.factor(values)
        if factor is not None and factor.inertia[0] == self.structure.assembly.n:
            return factor
        if not last:
            return None
        diagonal = pattern.keys % (self.structure.assembly.n + 1) == 0
        raised = 1e-9 * float(np.abs(values[diagonal]).mean())
        for _ in range(10):
            self.factorizations += 1
            factor = pattern.factor(values + np.where(diagonal, raised, 0.0))
            if factor is not None and factor.inertia[0] == self.structure.assembly.n:
                return factor
            raised *= 10.0
        return None

    def size(self, direction: Floats) -> float:
        """The furthest that a direction moves anything free [m]."""
        return float(np.abs(direction * self.structure.arms)[self.free].max(initial=0.0))

    def reach(self, direction: Floats) -> float:
        """How far along a direction nothing touches, at most 1."""
        if self.surface is None:
            return 1.0
        start = self.surface.positions(self.u)
        share = self.surface.contact.largest_step(start, self.surface.positions(self.u + direction))
        return share if share == 1.0 else SHRINK * share

    # ---- the force with friction that is not lagged

    def couple(self) -> bool:
        """Newton's method on the force itself; True once it has converged, False where lagged friction must bring the step nearer first.

        The force says little about how near a solution is: where contact is stiff, a step that comes nearer may make it much larger. What
        must shrink is the next correction by the old Jacobian, a length (the natural monotonicity test, Deuflhard 2011, "Newton methods for
        nonlinear problems"). The force has kinks where friction begins to slip, over which corrections may grow for a few steps.
        """
        begin = self.u
        at = Linearised(self.potential, begin)
        least, patience = np.inf, WATCHDOG
        for _ in range(MOST_COUPLED):
            self.count()
            self.factorizations += 1
            factor = at.factor()
            if factor is None:
                break
            direction = self.correction(factor, at)
            if direction is None:
                break
            self.u = at.u
            share, length = self.reach(direction), self.size(direction)
            if length <= self.limit:
                self.u = at.u + share * direction
                return True
            if length < least:
                least, patience = length, WATCHDOG
            elif patience == 0:
                break
            else:
                patience -= 1
            while True:
                trial = Linearised(self.potential, at.u + share * direction)
                following = self.correction(factor, trial)
                if share < SHORTEST or (following is not None and self.size(following) <= (1 - share / 4) * length):
                    break
                share *= 0.5
            at = trial
        self.u = begin
        return False

    def correction(self, factor: rslab.Ldlt | rslab.Lu, at: Linearised) -> Floats | None:
        """The Newton step [U] at `at` by the Jacobian behind `factor`; None where it is not finite."""
        out = np.zeros_like(self.u)
        out[self.free] = -factor.solve(at.force[self.free])
        return out if np.isfinite(out).all() else None
