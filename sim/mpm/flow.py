"""Matter that comes into the box and leaves it: inflows that emit layers of particles from a budget, and regions that take them out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import ModelError
from ..materials import Material
from ..rotation import rotation_matrix, turned
from ..sdf import Sdf

if TYPE_CHECKING:
    from .model import EffectorControl, MpmModel, MpmState

FINEST = 10**6
"""An interval is a multiple of 1 / n of a control step, with n up to this."""


@dataclasses.dataclass(frozen=True)
class Inflow:
    """A mouth from which particles come, a whole layer at a time, as long as the budget lasts.

    Layer j passes the mouth at j * interval, j = 0, 1, ..., counted in exact fractions of a control step. Particles are placed at the start of
    the step in which they are due, so far behind the mouth and so fast that in free fall they pass it on time and as fast as they should; the
    room there must be free. They take the inactive ones of the inflow's particles, in order. Where fewer are left than make a layer, nothing
    comes: a layer that finds no room is lost, and a budget that nothing leaves runs dry.

    Args:
        points: one layer, at the mouth [M, D] [m].
        material: what they are made of.
        volume: of a particle at rest [m^3], or [m^2] in two dimensions.
        velocity: of the matter at the mouth [D], or for each environment [B, D] [m/s]; differentiable.
        interval: time between two layers [s].
        budget: how many particles there can be at a time, a whole number of layers.
        effector: the number of a tool that carries the mouth; points and velocity are then in its frame, and the motion of the tool comes on top.
    """

    points: Tensor
    material: Material
    volume: float
    velocity: Tensor | Sequence[float]
    interval: float
    budget: int
    effector: int | None = None

    @classmethod
    def seeded(
        cls, shape: Sdf, material: Material, cell: float, velocity: Tensor | Sequence[float], budget: int, *, per_axis: int = 2,
        effector: int | None = None,
    ) -> Inflow:  # fmt: skip
        """Fills the section of a shape normal to the velocity, and sets the interval so that layers are as far apart as particles in a layer.

        Args:
            shape: the section is that through the middle of its bounds; of a `Sphere` a disc.
            material: what comes.
            cell: edge of a grid cell [m].
            velocity: of the matter at the mouth [D] [m/s].
            budget: at most so many particles at a time; rounded down to whole layers.
            per_axis: particles a cell along each axis, so per_axis^D in a cell.
            effector: as for the class.

        Raises:
            ModelError: if no particle fits into the section, or the velocity is zero.
        """
        along = torch.as_tensor(velocity).detach().to("cpu", torch.float64)
        speed = float(along.norm())
        if along.shape != (shape.dimension,) or not (math.isfinite(speed) and speed > 0):
            raise ModelError(f"The velocity of an inflow is {along.tolist()}; it must be a vector of {shape.dimension} numbers, not zero.")
        if per_axis < 1:
            raise ModelError(f"per_axis is {per_axis}; it must be at least 1 particle a cell and axis.")
        spacing = cell / per_axis
        low, high = (corner.to(torch.float64) for corner in shape.bounds())
        reach = math.ceil(float((high - low).norm()) / 2 / spacing)
        line = (torch.arange(-reach, reach, dtype=torch.float64) + 0.5) * spacing
        points = torch.cartesian_prod(*[line] * (shape.dimension - 1)).reshape(-1, shape.dimension - 1) @ _across(along / speed)
        points = points + (low + high) / 2
        points = points[shape.value(points).detach() < 0]
        if not len(points):
            raise ModelError(f"The mouth holds no particle at a spacing of {spacing:g} m; use smaller cells or a larger shape.")
        whole = budget // len(points) * len(points)
        return cls(points, material, spacing**shape.dimension, velocity, spacing / speed, whole or budget, effector)

    @property
    def count(self) -> int:
        """The budget."""
        return self.budget

    def period(self, dt: float) -> Fraction:
        """The interval in control steps of `dt` [s]."""
        return Fraction(self.interval / dt).limit_denominator(FINEST)


def _across(along: Tensor) -> Tensor:
    """Unit vectors normal to a unit vector and to each other [D - 1, D]; along the axes if it is."""
    if len(along) == 2:
        return torch.stack([-along[1], along[0]])[None]
    axis = torch.eye(3, dtype=along.dtype)[(int(along.abs().argmax()) + 1) % 3]
    first = axis - axis.dot(along) * along
    first = first / first.norm()
    return torch.stack([first, torch.linalg.cross(along, first)])


def at_start(model: MpmModel, inflow: Inflow) -> tuple[Tensor, Tensor]:
    """Where the mouth is at the start [M, D], and the velocity of its matter if its tool rests, float64 on the CPU."""
    places = inflow.points.detach().to("cpu", torch.float64)
    velocity = torch.as_tensor(inflow.velocity).detach().to("cpu", torch.float64)
    if inflow.effector is None:
        return places, velocity
    tool = model.effectors[inflow.effector]
    turn = rotation_matrix(torch.tensor(model.start_rotation(tool, inflow.effector), dtype=torch.float64))
    return places @ turn.T + torch.tensor(list(tool.position), dtype=torch.float64), velocity @ turn.T


def check_inflow(model: MpmModel, number: int) -> None:
    """Raises ModelError if an inflow of the model does not make sense."""
    inflow, d = model.inflows[number], model.dimension
    points, budget = inflow.points, inflow.budget
    if (
        not isinstance(points, Tensor)
        or points.ndim != 2
        or points.shape[1] != d
        or not len(points)
        or not bool(torch.isfinite(points).all())
    ):
        raise ModelError(f"The points of inflow {number} must be a tensor [M, {d}] of finite numbers with at least one row.")
    if not (math.isfinite(inflow.volume) and inflow.volume > 0):
        raise ModelError(f"Inflow {number} has a particle volume of {inflow.volume}; it must be positive.")
    velocity = torch.as_tensor(inflow.velocity).detach().to("cpu", torch.float64)
    if velocity.ndim not in (1, 2) or velocity.shape[-1] != d or not bool(torch.isfinite(velocity).all()):
        raise ModelError(f"The velocity of inflow {number} must hold finite numbers, [{d}] or [B, {d}], not {tuple(velocity.shape)}.")
    if not bool((velocity != 0).any(-1).all()):
        raise ModelError(
            f"The velocity of inflow {number} is zero: its layers would pile up at the mouth. Give it a speed, or leave it out."
        )
    interval = inflow.interval
    if not (isinstance(interval, int | float) and math.isfinite(interval) and interval > 0 and inflow.period(model.dt) > 0):
        raise ModelError(f"The interval of inflow {number} is {interval!r} s; it must be positive, and no less than a millionth of dt.")
    size = len(points)
    if not isinstance(budget, int) or budget < size or budget % size:
        wanted = max(1, int(budget) // size) * size
        raise ModelError(
            f"The budget of inflow {number} is {budget}; it must be a whole number of layers of {size} particles, such as {wanted}."
        )
    tool = inflow.effector
    if tool is not None and not (isinstance(tool, int) and 0 <= tool < len(model.effectors)):
        raise ModelError(f"Inflow {number} is carried by effector {tool}; the model has {len(model.effectors)}, counted from 0.")
    places, velocity = at_start(model, inflow)
    # A layer is due at a multiple of dt / denominator into a step, and all of these times occur.
    latest = model.dt * (1 - 1 / inflow.period(model.dt).denominator)
    behind = torch.cat([places, *(places - latest * row for row in velocity.reshape(-1, d))])
    low, high = torch.tensor(model.lower, dtype=torch.float64), torch.tensor(model.upper, dtype=torch.float64)
    if bool(((behind < low) | (behind > high)).any()):
        raise ModelError(
            f"Inflow {number} places particles outside the box {tuple(model.lower)} to {tuple(model.upper)} m; keep its mouth and "
            f"{latest * float(velocity.reshape(-1, d).norm(dim=1).max()):.3g} m behind it inside."
        )


def emit(
    model: MpmModel, state: MpmState, control: EffectorControl, velocities: Sequence[Tensor], gravity: Tensor, substep: float
) -> MpmState:
    """The state with all layers that are due in the coming control step; differentiable in velocities, gravity, and the tools and their motion.

    Args:
        model: whose inflows they are.
        state: at the start of the step.
        control: how the tools move in it.
        velocities: at the mouth of each inflow [B, D] [m/s].
        gravity: [B, D] [m/s^2].
        substep: duration of a substep [s].
    """
    start = sum(body.count for body in model.bodies)
    for inflow, velocity in zip(model.inflows, velocities, strict=True):
        state = _emit(inflow, start, state, control, velocity, gravity[:, None, None], model.dt, substep)
        start += inflow.budget
    return state


def _emit(
    inflow: Inflow, start: int, state: MpmState, control: EffectorControl, velocity: Tensor, gravity: Tensor, dt: float, substep: float
) -> MpmState:
    """`emit` for one inflow, whose particles begin at `start`."""
    period, size, age = inflow.period(dt), len(inflow.points), state.age
    p, q = period.numerator, period.denominator
    first, after = -((-age * q) // p), -((-(age + 1) * q) // p)  # the layers that are due, [first, after)
    free = ~state.active[:, start : start + inflow.budget]
    layers = torch.minimum(after - first, free.sum(1) // size)
    rank = free.cumsum(1) - 1
    chosen = free & (rank < layers[:, None] * size)
    if not bool(chosen.any()):
        return state
    most = -(-q // p)
    layer = torch.arange(most, device=age.device)
    late = (first[:, None] + layer) * p - age[:, None] * q  # in units of dt / q: whole numbers, so that nothing drifts
    time = late.to(velocity.dtype)[..., None, None] * (dt / q)
    place, speed = _at_mouth(inflow, time, state, control, velocity)
    # Back to the start of the step along the path that substeps follow: n of them take x to x + n h v + g h^2 n (n + 1) / 2.
    place = place - time * speed + gravity * (time * (time - substep) / 2)
    speed = speed - time * gravity
    rows = rank.clamp(0, most * size - 1)[..., None].expand(-1, -1, velocity.shape[1])

    def put(field: Tensor, new: Tensor | float) -> Tensor:
        """`field` with new values for the chosen particles."""
        old = field[:, start : start + inflow.budget]
        mask = chosen.view(*chosen.shape, *[1] * (field.ndim - 2))
        mixed = torch.where(mask, torch.as_tensor(new, dtype=field.dtype, device=field.device), old)
        return torch.cat([field[:, :start], mixed, field[:, start + inflow.budget :]], 1)

    F = state.deformation_gradient
    return state.replace(
        position=put(state.position, place.flatten(1, 2).gather(1, rows)),
        velocity=put(state.velocity, speed.flatten(1, 2).gather(1, rows)),
        apic_affine=put(state.apic_affine, 0.0),
        deformation_gradient=put(F, torch.eye(F.shape[-1])) if F.shape[1] else F,
        internal=put(state.internal, inflow.material.initial_internal),
        active=put(state.active, True),
    )


def _at_mouth(inflow: Inflow, time: Tensor, state: MpmState, control: EffectorControl, velocity: Tensor) -> tuple[Tensor, Tensor]:
    """Where the mouth is at `time` [B, L, 1, 1] into the step, and how fast its matter moves: [B, L, M, D] each.

    On a tool, matter leaves with its velocity relative to the mouth: that of the mouth, which turns with the tool, is added.
    """
    points = inflow.points.to(velocity)
    if inflow.effector is None:
        shape = (len(time), time.shape[1], *points.shape)
        return points.expand(shape), velocity[:, None, None].expand(shape)
    e = inflow.effector
    linear, angular = control.linear_velocity[:, e, None, None], control.angular_velocity[:, e, None, None]
    turn = turned(state.effector_rotation[:, e, None, None], angular, time)
    turn = rotation_matrix(turn / torch.linalg.vector_norm(turn, dim=-1, keepdim=True))

    def rotated(vectors: Tensor) -> Tensor:
        # Written out, since the summation order of a matrix product depends on its size, and so on the batch.
        return sum((turn[..., k] * vectors[..., k : k + 1] for k in range(vectors.shape[-1])), torch.zeros_like(turn[..., 0]))

    arm = rotated(points)
    if arm.shape[-1] == 2:
        spin = angular * torch.stack([-arm[..., 1], arm[..., 0]], -1)
    else:
        spin = torch.linalg.cross(angular.expand_as(arm), arm)
    return state.effector_position[:, e, None, None] + time * linear + arm, rotated(velocity[:, None, None]) + linear + spin


def drained(model: MpmModel, state: MpmState) -> Tensor:
    """Which particles are active once those within an outflow are taken out, bool [B, N]."""
    active, position = state.active, state.position.detach()
    for shape in model.outflows:
        active = active & ~(shape.value(position).detach() < 0)
    return active
