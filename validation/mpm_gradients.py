"""Derivatives of the material point method: the adjoint against differences, for every material, state, control and parameter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..sim.materials import Elastoplastic, FixedCorotated, Liquid, Material, NeoHookean
from ..sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from ..sim.sdf import Capsule, GridSdf
from .case import Check, Measured, case, require_choice
from .mpm_scene import lattice, require_ok

MATERIALS: dict[str, tuple[Callable[..., Material], dict[str, float]]] = {
    "liquid": (Liquid, {"density": 1000.0, "bulk_modulus": 1e4, "viscosity": 5.0}),
    "fixed_corotated": (FixedCorotated, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3}),
    "neo_hookean": (NeoHookean, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3}),
    "elastoplastic": (
        Elastoplastic,
        {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "yield_stress": 100.0, "hardening": 200.0},
    ),
}
"""Every material of the solver with parameters in SI."""
CELL = 0.05
"""[m]."""
CENTRAL = {2: (1 / 2,), 8: (4 / 5, -1 / 5, 4 / 105, -1 / 280)}
"""Weights of f(k h) - f(-k h) for k = 1, 2, ... in a central difference, by its order; Fornberg 1988."""

Inputs = dict[str, Tensor]
"""Everything that a step depends on, `[B, ...]`: fields of the state and the control, and parameters."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """A small block that flies, either freely, or into a corner with friction and under a soft pin that comes down and turns.

    Args:
        material: a key of MATERIALS.
        contact: whether there is a corner and a pin.
        dimension: 2 or 3.
        substeps: of a control step, 1 ms each.
    """

    material: str
    contact: bool
    dimension: int
    substeps: int

    def inputs(self) -> Inputs:
        """The values at which derivatives are taken, in a batch of one."""
        solver = self.solver(self._parameters())
        state, control = solver.initial_state(1), solver.rest_control(1)
        draw = torch.Generator().manual_seed(0)
        stretch = 2 * torch.randn(self.dimension, self.dimension, dtype=torch.float64, generator=draw)
        centred = state.position - state.position.mean(1, keepdim=True)
        state = state.replace(velocity=state.velocity + centred @ stretch.T, apic_affine=stretch.expand_as(state.apic_affine).clone())
        if self.contact:
            down = torch.tensor([1.0] + [0.0] * (self.dimension - 2) + [-2.0], dtype=torch.float64)
            control = EffectorControl(down.expand_as(control.linear_velocity).clone(), torch.full_like(control.angular_velocity, 3.0))
        fields = [*zip(state.names()[1:], state.tensors()[1:], strict=True), *zip(control.names(), control.tensors(), strict=True)]
        return {**{name: tensor for name, tensor in fields if tensor.numel()}, **self._parameters()}

    def _parameters(self) -> Inputs:
        values = dict(MATERIALS[self.material][1])
        if self.contact:
            values |= {"friction": 0.2, "softness": 2 * CELL}
        tensors = {name: torch.full((1,), value, dtype=torch.float64) for name, value in values.items()}
        tensors["gravity"] = torch.full((1, self.dimension), -9.81, dtype=torch.float64)
        if self.contact:
            tensors["wall_friction"] = torch.full((1, 2 * self.dimension), 0.3, dtype=torch.float64)
        return tensors

    def solver(self, inputs: Inputs) -> MpmSolver:
        """A solver with the parameters among `inputs`, one value for each environment."""
        kind, names = MATERIALS[self.material]
        matter = kind(**{name: inputs[name] for name in names})
        d, edge, tools = self.dimension, 0.15, []
        start = 0.03 if self.contact else 0.16
        spacing = edge / (6 if d == 2 else 4)
        velocity = [-1.5] + [0.0] * (d - 2) + [-1.2]
        if self.contact:
            # Voxels of its own: those that the model would choose depend on the softness.
            pin = GridSdf.sample(Capsule(0.1, 0.05, dimension=d), CELL / 4, 4 * CELL)
            turn = 0.5 if d == 2 else [math.cos(0.25), math.sin(0.25), 0.0, 0.0]
            tools = [Effector(pin, [0.1037] * (d - 1) + [0.2991], turn, friction=inputs["friction"], softness=inputs["softness"])]
        return MpmSolver(
            MpmModel(
                [Body(lattice([start] * d, [start + edge] * d, spacing), matter, spacing**d, velocity=velocity)],
                [0.0] * d, [0.5] * d, CELL, 0.001 * self.substeps, substeps=self.substeps, gravity=inputs["gravity"],
                walls="coulomb" if self.contact else "slip", wall_friction=inputs.get("wall_friction", 0.0), effectors=tools,
                dtype=torch.float64,
            )
        )  # fmt: skip

    def play(self, inputs: Inputs, steps: int) -> MpmState:
        """The state after `steps` control steps."""
        solver, batch = self.solver(inputs), len(inputs["position"])
        state, control = solver.initial_state(batch), solver.rest_control(batch)
        state = state.replace(**{name: inputs[name] for name in state.names() if name in inputs})
        control = control.replace(**{name: inputs[name] for name in control.names() if name in inputs})
        for _ in range(steps):
            state = solver.step(state, control)
        return require_ok(state)


def directions(inputs: Inputs) -> Inputs:
    """A fixed random direction for every input, of the size of the input or of what it is compared with."""
    sizes = {"position": CELL, "effector_position": CELL, "softness": CELL, "apic_affine": 10.0, "effector_rotation": 0.1}
    draw = torch.Generator().manual_seed(1)
    found = {}
    for name, value in inputs.items():
        noise = torch.randn(value.shape, dtype=value.dtype, generator=draw)
        found[name] = noise / noise.abs().max() * sizes.get(name, max(float(value.abs().max()), 0.1))
    return found


def outputs(state: MpmState) -> Tensor:
    """Everything in a state, made dimensionless, side by side [B, K]."""
    sizes = (CELL, 1.0, 10.0, 1.0, 1.0, CELL, 1.0)
    return torch.cat([(tensor / size).flatten(1) for tensor, size in zip(state.tensors()[1:], sizes, strict=True) if tensor.numel()], 1)


def tangents(scene: Scene, steps: int, inputs: Inputs, along: Inputs, order: int, widths: Sequence[float]) -> Tensor:
    """How the outputs change along each input's direction, by central differences [inputs, K].

    All displaced inputs run as environments of one batch. Of the widths, the one is taken whose result differs least from the next one's: wide steps
    meet kinks and higher derivatives, narrow ones rounding, and between them the result stands still. The adjoint has no say in this.
    """
    reach = len(CENTRAL[order])
    offsets = torch.tensor([sign * k for k in range(1, reach + 1) for sign in (1, -1)], dtype=torch.float64)
    shifts = torch.cat([width * offsets for width in widths])
    count = len(inputs) * len(shifts)
    batch = {name: value.expand(count, *value.shape[1:]).clone() for name, value in inputs.items()}
    for number, (name, direction) in enumerate(along.items()):
        rows = slice(number * len(shifts), (number + 1) * len(shifts))
        batch[name][rows] += shifts.view(-1, *[1] * (direction.ndim - 1)) * direction
    with torch.no_grad():
        ends = outputs(scene.play(batch, steps)).view(len(inputs), len(widths), reach, 2, -1)
    change = torch.einsum("iwrk,r->iwk", ends[..., 0, :] - ends[..., 1, :], torch.tensor(CENTRAL[order], dtype=torch.float64))
    slopes = change / torch.tensor(widths, dtype=torch.float64)[:, None]
    best = (slopes[:, 1:] - slopes[:, :-1]).norm(dim=-1).argmin(1)
    return slopes[torch.arange(len(inputs)), best]


def cotangents(scene: Scene, steps: int, inputs: Inputs, along: Inputs, weights: Tensor) -> Tensor:
    """The adjoint's slope of `weights[i] . outputs` along the direction of input i, for all inputs [inputs]."""
    leaves = {name: value.expand(len(inputs), *value.shape[1:]).clone().requires_grad_() for name, value in inputs.items()}
    score = (outputs(scene.play(leaves, steps)) * weights).sum()
    grads = torch.autograd.grad(score, list(leaves.values()))
    return torch.stack([(grad[row] * direction[0]).sum() for row, (grad, direction) in enumerate(zip(grads, along.values(), strict=True))])
