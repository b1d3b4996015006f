"""The material point method as a solver: moving least squares MPM with APIC transfers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core import Capabilities, Outcome, Solver, keep_failed, same_shape
from ..materials import Parameter
from ..rotation import rotation_matrix, turned
from ..runtime import start
from .engine import Engine, Scene
from .flow import at_start, drained, emit
from .model import EffectorControl, MpmModel, MpmState
from .step import MpmStep

PER_PARTICLE = ("position", "velocity", "apic_affine", "deformation_gradient", "internal")


class MpmSolver(Solver[MpmModel, MpmState, EffectorControl]):
    """Explicit MPM on a background grid of which only the blocks near particles exist.

    Hu et al. 2018 for the discretisation, Jiang et al. 2015 for APIC, quadratic B-splines throughout. Slip and sticky walls mirror the grid,
    so that fields are exact up to them; separating and Coulomb walls act on the nodes at and beyond them.

    Args:
        model: scene description; its dtype and device are those of every tensor.

    Raises:
        DeviceError: if the model's device cannot be had.
    """

    capabilities = Capabilities(
        dimensions=(2, 3),
        materials=("liquid", "fixed_corotated", "neo_hookean", "elastoplastic", "sand", "snow", "viscoplastic"),
        contact=("slip", "separate", "sticky", "coulomb", "effector"),
        differentiable=(
            "position", "velocity", "apic_affine", "deformation_gradient", "internal", "effector_position", "effector_rotation",
            "linear_velocity", "angular_velocity", "density", "bulk_modulus", "viscosity", "youngs_modulus", "poisson_ratio",
            "yield_stress", "hardening", "friction_angle", "cohesion", "critical_compression", "critical_stretch", "max_stiffening",
            "shear_modulus", "consistency", "flow_index", "regularization",
            "friction", "softness", "wall_friction", "wall_velocity", "gravity", "inflow_velocity",
        ),
        backends=("cpu", "vulkan"),
    )  # fmt: skip

    def __init__(self, model: MpmModel) -> None:
        super().__init__(model)
        backend = start(model.device)
        self._like = torch.zeros((), dtype=model.dtype, device=model.device)
        materials = [source.material for source in model.sources]
        laws = list(dict.fromkeys(material.law for material in materials))
        counts = torch.tensor([source.count for source in model.sources])
        self._source = torch.repeat_interleave(torch.arange(len(materials)), counts).to(model.device)
        kinds = torch.tensor([laws.index(material.law) for material in materials], dtype=torch.int32, device=model.device)
        volume = torch.tensor([source.volume for source in model.sources], dtype=model.dtype, device=model.device)[self._source]
        shape, frame, table = self._tools()
        self._scene = Scene(
            dimension=model.dimension,
            dt=model.dt / model.steps,
            dx=model.cell,
            lower=tuple(float(value) for value in model.lower),
            cells=model.cells,
            substeps=model.steps,
            laws=tuple(laws),
            kind=kinds[self._source].contiguous(),
            volume=volume.contiguous(),
            width=max(2, *(len(material.law_parameters()) for material in materials)),
            keeps_shape=any(material.keeps_shape for material in materials),
            wall_kind=torch.tensor(model.wall_kinds(), dtype=torch.int32, device=model.device),
            sliding=model.wall_velocity is not None,
            tools=len(model.effectors),
            shape=shape,
            frame=frame,
            table=table,
            atomic=backend != "cpu",
        )
        self._engine = Engine(self._scene)

    def _tools(self) -> tuple[Tensor, Tensor, Tensor]:
        """The voxels of all tools in one table, and where each begins."""
        model, d = self.model, self.model.dimension
        shapes, frames, tables, start = [], [], [], 0
        for tool in model.effectors:
            voxels = model.voxels(tool)
            samples = torch.cat([voxels.values[..., None], voxels.gradients], -1).reshape(-1, d + 1)
            shapes.append([*voxels.values.shape, start])
            frames.append([*voxels.lower.tolist(), *voxels.spacing.tolist()])
            tables.append(samples)
            start += len(samples)
        if not shapes:  # a kernel takes no empty array
            shapes, frames, tables = [[0] * (d + 1)], [[1.0] * (2 * d)], [torch.zeros(1, d + 1)]
        to: dict[str, Any] = {"dtype": model.dtype, "device": model.device}
        return (
            torch.tensor(shapes, dtype=torch.int32, device=model.device),
            torch.tensor(frames, **to),
            torch.cat(tables).to(**to).contiguous(),
        )

    # ---- states and controls

    def initial_state(self, batch: int = 1) -> MpmState:
        """The model's bodies and tools as they start, in `batch` environments; what inflows are to emit waits at their mouths, inactive."""
        model, d = self.model, self.model.dimension
        to: dict[str, Any] = {"dtype": model.dtype, "device": model.device}
        bodies = sum(body.count for body in model.bodies)
        waiting = [at_start(model, inflow)[0].to(**to).repeat(inflow.budget // len(inflow.points), 1) for inflow in model.inflows]
        x = torch.cat([*(body.points.to(**to) for body in model.bodies), *waiting])
        rest = self._like.new_zeros(len(x) - bodies, d)
        v = torch.cat([*(self._start_velocity(number) for number in range(len(model.bodies))), rest])
        n = len(x) if self._scene.keeps_shape else 0
        inner = torch.cat([torch.full((source.count,), source.material.initial_internal, **to) for source in model.sources])
        centre = torch.tensor([list(tool.position) for tool in model.effectors], **to).reshape(-1, d)
        turn = torch.tensor([model.start_rotation(tool) for tool in model.effectors], **to).reshape(-1, 2 if d == 2 else 4)
        fields = (x, v, torch.zeros(len(x), d, d, **to), torch.eye(d, **to).expand(n, d, d), inner, centre, turn)
        status = torch.zeros(batch, dtype=torch.int32, device=model.device)
        active = torch.arange(len(x), device=model.device) < bodies
        age = torch.zeros(batch, dtype=torch.int64, device=model.device)
        return MpmState(status, *(field.expand(batch, *field.shape).clone() for field in (*fields, active)), age)  # type: ignore[call-arg]

    def _start_velocity(self, number: int) -> Tensor:
        body = self.model.bodies[number]
        velocity = self._like.new_zeros(self.model.dimension) if body.velocity is None else self._tensor(body.velocity)
        return velocity.expand(len(body.points), self.model.dimension)

    def rest_control(self, batch: int = 1) -> EffectorControl:
        """Tools at rest."""
        count, d = len(self.model.effectors), self.model.dimension
        return EffectorControl(self._like.new_zeros(batch, count, d), self._like.new_zeros(batch, count, 1 if d == 2 else 3))

    # ---- the step

    def step(self, state: MpmState, control: EffectorControl) -> MpmState:
        """Advances by `model.dt` [s]; differentiable in state, control and every parameter of the model.

        Raises:
            ShapeError: if a tensor has the wrong shape, dtype or device.
        """
        self._check(state, control)
        running = state.ok
        if not bool(running.any()):
            return state
        if not bool(running.all()):
            index = running.nonzero()[:, 0]
            stepped = self._whole_step(state[index], control[index], index)
            new = type(state)(*(old.index_copy(0, index, part) for old, part in zip(state.tensors(), stepped.tensors(), strict=True)))
            return keep_failed(state, new)
        return keep_failed(state, self._whole_step(state, control, None))

    def _whole_step(self, state: MpmState, control: EffectorControl, index: Tensor | None) -> MpmState:
        """Emits, advances and drains environments that all still run; `index` says which of a larger batch they are."""
        end = self._advance(state, control, index)
        return end.replace(active=drained(self.model, end), age=state.age + 1)

    def _emitted(self, state: MpmState, control: EffectorControl, index: Tensor | None) -> MpmState:
        """The state with the layers that are due in the step."""
        if not self.model.inflows:
            return state
        d = self.model.dimension
        velocities = [self._per_environment(inflow.velocity, state.batch, index, (d,)) for inflow in self.model.inflows]
        return emit(self.model, state, control, velocities, self._surroundings(state.batch, index)[-1], self._scene.dt)

    def _advance(self, state: MpmState, control: EffectorControl, index: Tensor | None) -> MpmState:
        """What inflows emit, and the substeps."""
        given, state = state, self._emitted(state, control, index)
        status = self._readiness(state, control)
        if bool(status.any()):  # from the start, since no NaN must be in the graph of what environments share
            return self._advance_ready(given, control, index, status)
        centre, rotation, end = self._motion(state, control)
        mass, par = self._matter(state.batch, index)
        active = None if bool(state.active.all()) else state.active
        *particles, status = MpmStep.apply(
            self._engine, active, state.position, state.velocity, state.apic_affine, state.deformation_gradient, state.internal, mass, par,
            centre, rotation, control.linear_velocity, control.angular_velocity, *self._surroundings(state.batch, index),
        )  # fmt: skip
        return MpmState(status, *particles, *end, state.active, state.age)  # type: ignore[call-arg]

    def _readiness(self, state: MpmState, control: EffectorControl) -> Tensor:
        """What is wrong with each environment before the step, as an outcome, int32 [B]; the kernels rely on particles within the grid."""
        status = torch.zeros_like(state.status)
        place = (state.position - self._tensor(self.model.lower)) / self.model.cell
        outside = (place < -0.5) | (place >= self._tensor(self.model.cells) + 0.5)
        status[(outside.any(-1) & state.active).any(1)] = int(Outcome.OUT_OF_DOMAIN)
        for name, tensor in {**state.floats(), **control.floats()}.items():
            finite = torch.isfinite(tensor)
            if name in PER_PARTICLE and tensor.numel() and bool((~state.active).any()):
                finite = finite.reshape(*state.active.shape, -1) | ~state.active[..., None]
            status[~finite.reshape(len(tensor), -1).all(1)] = int(Outcome.NOT_FINITE)
        return status

    def _advance_ready(self, state: MpmState, control: EffectorControl, index: Tensor | None, status: Tensor) -> MpmState:
        """Steps the environments whose `status` is OK, and marks the others."""
        marked = state.replace(status=status)
        good = marked.ok.nonzero()[:, 0]
        if not len(good):
            return marked
        stepped = self._advance(state[good], control[good], good if index is None else index[good])
        return MpmState(*(old.index_copy(0, good, part) for old, part in zip(marked.tensors(), stepped.tensors(), strict=True)))

    def _motion(self, state: MpmState, control: EffectorControl) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Centres and rotation matrices of the tools at the start of each substep, and their pose at the end."""
        n, dt = self._scene.substeps, self._scene.dt
        time = torch.arange(n + 1, dtype=self._like.dtype, device=self._like.device).view(1, -1, 1, 1) * dt
        centre = state.effector_position[:, None] + time * control.linear_velocity[:, None]
        turns = turned(state.effector_rotation[:, None], control.angular_velocity[:, None], time)
        turns = turns / torch.linalg.vector_norm(turns, dim=-1, keepdim=True)
        return centre[:, :-1], rotation_matrix(turns[:, :-1]), (centre[:, -1], turns[:, -1])

    def _tensor(self, value: Parameter | Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
        """A tensor of the model's dtype; a number does not pass through f32 on its way."""
        return torch.as_tensor(value, dtype=self._like.dtype, device=self._like.device)

    def _per_environment(self, value: Parameter | Sequence[float], batch: int, index: Tensor | None, shape: tuple[int, ...] = ()) -> Tensor:
        """A parameter of `shape` as one an environment [B, ...]."""
        tensor = self._tensor(value)
        if tensor.ndim == len(shape):
            return tensor.expand(batch, *shape)
        chosen = tensor if index is None else tensor[index]
        return same_shape("A parameter with one value for each environment", chosen, (batch, *shape), self._like)

    def _matter(self, batch: int, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mass [B, N] and law parameters [B, N, width] of all particles."""
        density, rows = [], []
        for material in [source.material for source in self.model.sources]:
            density.append(self._per_environment(material.density, batch, index))
            values = [self._per_environment(value, batch, index) for value in material.law_parameters()]
            values += [self._like.expand(batch)] * (self._scene.width - len(values))
            rows.append(torch.stack(values, -1))
        mass = torch.stack(density, 1)[:, self._source] * self._scene.volume
        return mass, torch.stack(rows, 1)[:, self._source]

    def _surroundings(self, batch: int, index: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Friction and softness of the tools [B, E, 2], friction [B, 2 D] and velocity [B, 2 D, D] of the walls, gravity [B, D]."""
        model, d = self.model, self.model.dimension
        pairs = [
            torch.stack([self._per_environment(tool.friction, batch, index), self._per_environment(tool.softness, batch, index)], -1)
            for tool in model.effectors
        ]
        coefficient = torch.stack(pairs, 1) if pairs else self._like.new_zeros(batch, 0, 2)
        walls = self._tensor(model.wall_friction)
        slide = self._like.expand(2 * d, d) if model.wall_velocity is None else self._tensor(model.wall_velocity)
        gravity = [0.0] * (d - 1) + [-9.81] if model.gravity is None else model.gravity
        pull = self._tensor(gravity)
        if index is not None:
            pull = pull[index] if pull.ndim == 2 else pull
            walls = walls[index] if walls.ndim == 2 else walls
            slide = slide[index] if slide.ndim == 3 else slide
        pull = same_shape("gravity", pull.expand(batch, d), (batch, d), self._like)
        return coefficient, walls.expand(batch, 2 * d), slide.expand(batch, 2 * d, d), pull

    def _check(self, state: MpmState, control: EffectorControl) -> None:
        b, n, d, e = state.batch, self.model.particles, self.model.dimension, len(self.model.effectors)
        kept = n if self._scene.keeps_shape else 0
        turn = 2 if d == 2 else 4
        shapes = ((b, n, d), (b, n, d), (b, n, d, d), (b, kept, d, d), (b, n), (b, e, d), (b, e, turn))
        for name, shape in zip(state.names()[1:-2], shapes, strict=True):
            same_shape(f"state.{name}", getattr(state, name), shape, self._like)
        same_shape("state.active", state.active, (b, n), self._like.new_zeros((), dtype=torch.bool))
        same_shape("state.age", state.age, (b,), self._like.new_zeros((), dtype=torch.int64))
        same_shape("control.linear_velocity", control.linear_velocity, (b, e, d), self._like)
        same_shape("control.angular_velocity", control.angular_velocity, (b, e, 1 if d == 2 else 3), self._like)
