"""Small MPM scenes for tests: a block that flies into a corner, with or without a tool in its way."""

import torch

from pliant.sim.materials import Elastoplastic, FixedCorotated, Liquid, NeoHookean
from pliant.sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver
from pliant.sim.sdf import Sphere

PARAMETERS = {
    "density": 1000.0,
    "stiffness": 1e4,
    "poisson_ratio": 0.3,
    "viscosity": 5.0,
    "yield_stress": 100.0,
    "hardening": 200.0,
    "friction": 0.4,
    "softness": 0.1,
    "wall_friction": 0.3,
    "gravity": -9.81,
}


def material(name, p):
    return {
        "liquid": lambda: Liquid(p["density"], p["stiffness"], p["viscosity"]),
        "fixed_corotated": lambda: FixedCorotated(p["density"], p["stiffness"], p["poisson_ratio"]),
        "neo_hookean": lambda: NeoHookean(p["density"], p["stiffness"], p["poisson_ratio"]),
        "elastoplastic": lambda: Elastoplastic(p["density"], p["stiffness"], p["poisson_ratio"], p["yield_stress"], p["hardening"]),
    }[name]()


OF_MATERIAL = {
    "liquid": ("density", "stiffness", "viscosity"),
    "fixed_corotated": ("density", "stiffness", "poisson_ratio"),
    "neo_hookean": ("density", "stiffness", "poisson_ratio"),
    "elastoplastic": ("density", "stiffness", "poisson_ratio", "yield_stress", "hardening"),
}


def corner_scene(
    name="liquid", dimension=2, *, walls="coulomb", tool=True, dtype=torch.float64, per_axis=6, substeps=10, dt=0.02,
    wall_velocity=None, **changes
):  # fmt: skip
    """A block that flies into a corner of the box, under a turning ball."""
    p = {**PARAMETERS, **changes}
    edge = 0.15
    line = (torch.arange(per_axis, dtype=torch.float64) + 0.5) / per_axis * edge + 0.06
    points = torch.cartesian_prod(*[line] * dimension)
    velocity = [-1.5] + [0.0] * (dimension - 2) + [-1.2]
    body = Body(points, material(name, p), (edge / per_axis) ** dimension, velocity)
    ball = Effector(Sphere(0.08, dimension=dimension), [0.2] * (dimension - 1) + [0.26], friction=p["friction"], softness=p["softness"])
    gravity = torch.stack([torch.as_tensor(p["gravity"], dtype=dtype)] * dimension)
    model = MpmModel(
        [body], [0.0] * dimension, [0.5] * dimension, 0.05, dt, substeps=substeps, walls=walls, wall_friction=p["wall_friction"],
        wall_velocity=wall_velocity, effectors=[ball] if tool else [], gravity=gravity, dtype=dtype,
    )  # fmt: skip
    return MpmSolver(model)


def turning(solver, batch=1, linear=None, angular=None):
    """The ball comes down and turns."""
    rest = solver.rest_control(batch)
    if not solver.model.effectors:
        return rest
    d = solver.model.dimension
    down = rest.linear_velocity.new_tensor([0.3] + [0.0] * (d - 2) + [-1.0]) if linear is None else linear
    spin = rest.angular_velocity.new_full((1 if d == 2 else 3,), 3.0) if angular is None else angular
    return EffectorControl(down.expand_as(rest.linear_velocity), spin.expand_as(rest.angular_velocity))


def play(solver, state, control, steps):
    for _ in range(steps):
        state = solver.step(state, control)
    return state


def score(state):
    """One number that depends on every tensor of a state with equal right; [B]."""
    total = 0.0
    for scale, tensor in zip((1.0, 0.1, 0.01, 0.5, 0.5, 1.0, 1.0), state.tensors()[1:], strict=True):
        flat = tensor.reshape(state.batch, -1)
        total = total + scale * (flat * torch.linspace(0.5, 1.5, max(1, flat.shape[1]), dtype=flat.dtype)[: flat.shape[1]]).sum(1)
    return total
