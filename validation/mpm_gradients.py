"""Derivatives of the material point method: the adjoint against differences, for every material, state, control and parameter."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..sim.materials import Elastoplastic, FixedCorotated, Liquid, Material, NeoHookean, Sand, Snow
from ..sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from ..sim.sdf import Capsule, GridSdf
from .case import Check, Measured, case, require_choice
from .mpm_scene import lattice, require_ok

SNOW = {"critical_compression": 5e-3, "critical_stretch": 2.5e-3, "hardening": 10.0, "max_stiffening": 1.05}
"""So brittle, and so soon as hard as it gets, that a block that is pressed for some milliseconds meets every branch of the law."""
MATERIALS: dict[str, tuple[Callable[..., Material], dict[str, float]]] = {
    "liquid": (Liquid, {"density": 1000.0, "bulk_modulus": 1e4, "viscosity": 5.0}),
    "fixed_corotated": (FixedCorotated, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3}),
    "neo_hookean": (NeoHookean, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3}),
    "elastoplastic": (
        Elastoplastic,
        {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "yield_stress": 100.0, "hardening": 200.0},
    ),
    "sand": (Sand, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "friction_angle": 32.0, "cohesion": 50.0}),
    "snow": (Snow, {"density": 400.0, "youngs_modulus": 1e4, "poisson_ratio": 0.2, **SNOW}),
}
"""Every material of the solver with parameters in SI."""
CELL = 0.05
"""[m]."""
CENTRAL = {2: (1 / 2,), 8: (4 / 5, -1 / 5, 4 / 105, -1 / 280)}
"""Weights of f(k h) - f(-k h) for k = 1, 2, ... in a central difference, by its order; Fornberg 1988."""

TINY = 1e-300

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
    sizes = {
        "position": CELL, "effector_position": CELL, "softness": CELL, "apic_affine": 10.0, "effector_rotation": 0.1,
        "critical_compression": 5e-3, "critical_stretch": 2.5e-3,
    }  # fmt: skip
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


def tangents(scene: Scene, steps: int, inputs: Inputs, along: Inputs, order: int, widths: Sequence[float]) -> tuple[Tensor, Tensor]:
    """How the outputs change along each input's direction, by central differences [inputs, K], and how sure that is [inputs].

    All displaced inputs run as environments of one batch. Of the widths, the one is taken whose result differs least from that of the next; this
    difference, over the result, is the second tensor. Wide steps meet kinks and higher derivatives, narrow ones rounding, and between them the
    result stands still. The adjoint has no say in this.
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
    unrest = (slopes[:, 1:] - slopes[:, :-1]).norm(dim=-1)
    best = unrest.argmin(1)
    chosen = slopes[torch.arange(len(inputs)), best]
    return chosen, unrest.min(1).values / chosen.norm(dim=-1).clamp_min(TINY)


def weights_for(slopes: Tensor) -> Tensor:
    """Weights of the outputs for each input [inputs, K]: along what answers to it, so that little cancels, and in part at random."""
    draw = torch.Generator().manual_seed(2)
    share = 0.5 + torch.rand(slopes.shape, dtype=slopes.dtype, generator=draw)
    noise = torch.randn(slopes.shape, dtype=slopes.dtype, generator=draw)
    return share * slopes / slopes.norm(dim=1, keepdim=True).clamp_min(TINY) + noise / math.sqrt(slopes.shape[1])


def cotangents(scene: Scene, steps: int, inputs: Inputs, along: Inputs, weights: Tensor) -> Tensor:
    """The adjoint's slope of `weights[i] . outputs` along the direction of input i, for all inputs [inputs]."""
    leaves = {name: value.expand(len(inputs), *value.shape[1:]).clone().requires_grad_() for name, value in inputs.items()}
    score = (outputs(scene.play(leaves, steps)) * weights).sum()
    grads = torch.autograd.grad(score, list(leaves.values()))
    return torch.stack([(grad[row] * direction[0]).sum() for row, (grad, direction) in enumerate(zip(grads, along.values(), strict=True))])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Slopes of a scene by the adjoint and by differences [inputs each]."""

    adjoint: Tensor
    differences: Tensor
    unrest: Tensor
    """How far the differences of two widths are apart, over their size."""

    @property
    def errors(self) -> Tensor:
        """Relative ones; a slope that one finds and the other does not is an error of 1."""
        size = torch.maximum(self.adjoint.abs(), self.differences.abs()).clamp_min(TINY)
        return (self.adjoint - self.differences).abs() / size

    def where_surer(self, other: Comparison) -> Comparison:
        """Of two comparisons, input by input, the one with less unrest."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Comparison(*(torch.where(self.unrest <= other.unrest, mine, others) for mine, others in pairs))


def compare(scene: Scene, steps: int, inputs: Inputs, order: int, widths: Sequence[float]) -> Comparison:
    """The adjoint of `steps` control steps against central differences, along one direction of every input."""
    along = directions(inputs)
    slopes, unrest = tangents(scene, steps, inputs, along, order, widths)
    weights = weights_for(slopes)
    return Comparison(cotangents(scene, steps, inputs, along, weights), (slopes * weights).sum(1), unrest)


def chosen_materials(material: str, dimension: int) -> list[str]:
    """All materials, or the one that is asked for.

    Raises:
        OptionError: if there is no such material or dimension.
    """
    require_choice("material", material, ("all", *MATERIALS))
    require_choice("dimension", str(dimension), ("2", "3"))
    return list(MATERIALS) if material == "all" else [material]


@case("mpm.gradient", source="Central differences in f64 through 50 substeps", tolerance=1e-6)
def gradient(material: str = "all", dimension: int = 2) -> Measured:
    """Derivatives with respect to every field of the state, every control and every parameter, through 50 substeps.

    Each is a slope along a random direction, of a random combination of everything in the final state. A block flies freely; then it is pressed
    into a corner with Coulomb friction by a tool that comes down, turns and rubs.

    Args:
        material: one of the solver's, or all.
        dimension: 2 or 3.

    Returns:
        The slopes by the adjoint, and by differences; the error is the largest relative one of the free block. Further: that of the pressed
        block, at most 1e-4.
    """
    free: list[Comparison] = []
    pressed: list[Comparison] = []
    for name in chosen_materials(material, dimension):
        for contact, found in ((False, free), (True, pressed)):
            scene = Scene(name, contact, dimension, substeps=10)
            found.append(compare(scene, 5, scene.inputs(), 2, (1e-5, 1e-6, 1e-7, 1e-8)))
    return _measured(free, pressed, 1e-4)


@case("mpm.adjoint_dot", source="<J v, w> = <v, J' w>, with J v by central differences of order 8 in f64", tolerance=1e-10)
def adjoint_dot(material: str = "all", dimension: int = 2) -> Measured:
    """Dot-product test of the adjoint of a control step of two substeps, for every field of the state, every control and every parameter.

    A step is a polynomial in velocities, a piecewise one in places, and smooth in the rest, so differences of order 8 lose nothing but digits to
    rounding: J v is known to some 1e-12, but for kinks (a particle enters a cell, a node begins to stick) within the width of a difference.
    They show in that two widths disagree; the pressed block is therefore tested in four states, and each input counts where its widths agree best.

    Args:
        material: one of the solver's, or all.
        dimension: 2 or 3.

    Returns:
        The products by the adjoint, and by differences, of a free and of a pressed block; the error is the largest relative one.
    """
    found = []
    for name in chosen_materials(material, dimension):
        for contact, moments in ((False, (6,)), (True, (6, 7, 8, 9))):
            scene = Scene(name, contact, dimension, substeps=2)
            trials = [compare(scene, 1, _later(scene, moment), 8, (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)) for moment in moments]
            found.append(functools.reduce(Comparison.where_surer, trials))
    return _measured(found, [], 0.0)


def _later(scene: Scene, steps: int) -> Inputs:
    """The inputs of a scene after some control steps."""
    inputs = scene.inputs()
    with torch.no_grad():
        state = scene.play(inputs, steps)
    return {name: getattr(state, name, value) for name, value in inputs.items()}


def _measured(first: Sequence[Comparison], second: Sequence[Comparison], second_limit: float) -> Measured:
    """What two groups of comparisons found, the second with a limit of its own."""
    every = [*first, *second]
    return Measured(
        torch.cat([one.adjoint for one in every]).tolist(),
        torch.cat([one.differences for one in every]).tolist(),
        float(torch.cat([one.errors for one in first]).max()),
        [Check("error with contact", float(torch.cat([one.errors for one in second]).max()), second_limit)] if second else [],
    )
