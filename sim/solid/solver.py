"""The implicit solver: shells, elastic solids, rigid bodies and obstacles in one incremental potential."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ...errors import DeviceError, ModelError, ShapeError, StepError
from ..core import Capabilities, Outcome, Solver, keep_failed, same_shape
from ..rotation import rotation_matrix, turned
from ..runtime import start
from .assembly import Assembly
from .bodies import Shell
from .contact import ContactSurface
from .linearised import is_lost
from .model import SolidModel, per_environment
from .newton import Solution
from .parts import KinematicPart, Part, Per, RigidPart, make_parts
from .potential import Potential, Structure, Surface, mass_patterns
from .state import SolidControl, SolidState
from .step import ImplicitStep, Settings, step_data
from .wrench import elastic_wrench


class SolidSolver(Solver[SolidModel, SolidState, SolidControl]):
    """Implicit steps of bodies that touch without penetration, f64 on the CPU.

    A step minimises inertia, elastic energies and the contact barrier with Coulomb friction at the end of the step, by Newton's method
    (see `newton.py`); its derivatives follow from the implicit function theorem (`step.py`).

    Args:
        model: the scene.

    Raises:
        ModelError, MeshError: if the scene makes no sense, or bodies intersect at the start.
    """

    capabilities = Capabilities(
        dimensions=(3,),
        materials=(
            "shell_st_venant_kirchhoff", "shell_neo_hookean", "stable_neo_hookean", "fixed_corotated", "linear", "hyperelastic", "rigid",
        ),
        contact=("barrier", "coulomb", "self_contact", "handle"),
        differentiable=(
            "position", "velocity", "plastic_bend", "plastic_curvature", "handle_position", "handle_rotation", "previous_position",
            "previous_velocity", "contact_stiffness", "linear_velocity", "angular_velocity", "force", "youngs_modulus", "poisson_ratio",
            "thickness", "density", "friction", "rest", "rest_angle", "yield_curvature", "hardening", "clamp_direction", "gravity",
        ),
        dtypes=("float64",),
    )  # fmt: skip

    def __init__(self, model: SolidModel) -> None:
        super().__init__(model)
        backend = start("cpu")
        if backend != "cpu":
            raise DeviceError(f"The implicit solver computes in double precision on the CPU, not on {backend}; unset PLIANT_BACKEND.")
        self._parts, self._unknowns = make_parts(model)
        self._nodes = model.node_total
        held = np.concatenate([model.held().ravel(), *(part.held_rotations() for part in self._parts)])
        coupled = np.concatenate([part.coupled for part in self._parts])
        patterns = [np.asarray(pattern) for part in self._parts for term in part.terms for pattern in term.patterns]
        terms = [term for part in self._parts for term in part.terms]
        assembly = Assembly(~held, [*patterns, *mass_patterns(self._nodes, coupled)])
        places = np.concatenate([part.start()[0] for part in self._parts])
        surface, embedding = self._surface(places)
        arms = np.concatenate([np.ones(3 * self._nodes), *(part.arms() for part in self._parts)])
        self._structure = Structure(terms, assembly, coupled, surface, embedding, arms, model.integrator == "static")
        self._owner = torch.from_numpy(model.handle_of())
        self._arm = torch.from_numpy(places)
        if model.handles:
            origin = torch.tensor([list(handle.position) for handle in model.handles], dtype=torch.float64)
            self._arm = torch.from_numpy(places) - torch.where(self._owner[:, None] >= 0, origin[self._owner], 0.0)
        self.report: list[Solution] = []
        """How the last step went, for each environment that took it."""

    def _surface(self, places: np.ndarray) -> tuple[ContactSurface | None, sp.csr_matrix]:
        """The surface of all bodies, and its vertices from the nodes."""
        rows, columns, weights, faces, owner, count = [], [], [], [], [], 0
        for number, part in enumerate(self._parts):
            used = part.surface_vertices()
            r, c, w = part.surface_weights()
            rows.append(r + count)
            columns.append(c + part.first)
            weights.append(w)
            faces.append(np.searchsorted(used, part.body.mesh.faces) + count)
            owner.append(np.full(len(used), number))
            count += len(used)
        entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
        embedding = sp.csr_matrix(entries, (count, self._nodes))
        contact = self.model.contact
        if contact is None:
            return None, embedding
        names = [body.name for body in self.model.bodies]
        touching = (
            [body.name for body in self.model.bodies if isinstance(body, Shell)] if contact.self_contact is None else contact.self_contact
        )
        surface = ContactSurface(
            embedding @ places,
            np.concatenate(faces),
            np.concatenate(owner),
            self._moving(embedding),
            contact.activation_distance,
            contact.offset,
            contact.friction_speed,
            [name in touching for name in names],
            [(names.index(a), names.index(b)) for a, b in contact.ignored],
        )
        surface.check_start(embedding @ places, names)
        return surface, embedding

    def _moving(self, embedding: sp.csr_matrix) -> np.ndarray:
        """Surface vertices that can move, bool [V]."""
        free = ~self.model.held().all(1) | (self.model.handle_of() >= 0)
        return np.asarray(embedding @ free.astype(float)).ravel() > 0

    # ---- states and controls

    def initial_state(self, batch: int = 1) -> SolidState:
        """The bodies as they start, in `batch` environments.

        Raises:
            ShapeError: if the model's parameters are for another number of environments.
        """
        self._check_batch(batch)
        pairs = [part.start() for part in self._parts]
        position = torch.from_numpy(np.concatenate([place for place, _ in pairs]))
        velocity = torch.from_numpy(np.concatenate([speed for _, speed in pairs]))
        velocity[torch.from_numpy(self.model.held())] = 0.0
        count, rows = len(self.model.handles), sum(self._rows())
        zero = torch.zeros((), dtype=torch.float64)
        fields = (
            position, velocity, zero.expand(self._unknowns - 3 * self._nodes), zero.expand(rows, 3), zero.expand(rows),
            torch.tensor([list(handle.position) for handle in self.model.handles], dtype=torch.float64).reshape(count, 3),
            torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(count, 4),
            position, velocity,
        )  # fmt: skip
        status = torch.zeros(batch, dtype=torch.int32)
        age = torch.zeros(batch, dtype=torch.int64)
        copies = (field.expand(batch, *field.shape).clone() for field in fields)
        return SolidState(status, *copies, self._start_stiffness(batch), age)  # type: ignore[call-arg]

    def rest_control(self, batch: int = 1) -> SolidControl:
        """Handles at rest, and no forces."""
        still = torch.zeros(batch, len(self.model.handles), 3, dtype=torch.float64)
        return SolidControl(still, still.clone(), torch.zeros(batch, self._nodes, 3, dtype=torch.float64))

    def pose(self, state: SolidState, name: str) -> tuple[Tensor, Tensor]:
        """Where a rigid body is: its centre of mass [B, 3], and what turned its mesh there [B, 3, 3], a rotation up to the body's stiffness.

        Raises:
            ModelError: if the body is not Rigid.
        """
        part = self._part(name)
        if not isinstance(part, RigidPart):
            raise ModelError(f"Body {name!r} is a {type(part.body).__name__}; only a Rigid has a pose. Its vertices are nodes({name!r}).")
        corner = state.position[:, part.nodes]
        return corner[:, 0], (corner[:, 1:] - corner[:, :1]).transpose(1, 2) / part.arm

    def vertices(self, state: SolidState, name: str) -> Tensor:
        """Places of the vertices of a body's mesh [B, V, 3] [m]."""
        part = self._part(name)
        corner = state.position[:, part.nodes]
        return torch.from_numpy(part.barycentric()) @ corner if isinstance(part, RigidPart) else corner

    def intersections(self, state: SolidState) -> list[list[tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Edges that pass through triangles, in every environment: the surface's vertices of both. Found by a test of its own, for checks and doubts.

        Raises:
            ModelError: if the model has no contact.
        """
        structure = self._structure
        if structure.surface is None:
            raise ModelError("The model has no contact, so it has no contact surface; give it contact=Contact(...).")
        place = [structure.embedding @ position.detach().numpy() for position in state.position]
        return [structure.surface.intersections(X) for X in place]

    def _part(self, name: str) -> Part:
        self.model.body(name)
        return next(part for part in self._parts if part.body.name == name)

    def _rows(self) -> list[int]:
        return [part.bending_elements for part in self._parts]

    def _start_stiffness(self, batch: int) -> Tensor:
        """A barrier that takes the weight of the bodies and their inertia over a step, ten times over [B] [Pa]."""
        contact, model = self.model.contact, self.model

        def per(value: Any, shape: tuple[int, ...] = ()) -> Tensor:
            return per_environment(value, batch, None, shape)

        if contact is None or contact.stiffness is not None:
            return per(0.0 if contact is None else contact.stiffness)
        diagonal, off = self._mass(per)
        area = sum(_area(part) for part in self._parts if not isinstance(part, KinematicPart))
        gravity = torch.linalg.vector_norm(per(model.gravity, (3,)), dim=-1)
        pressed = gravity if model.integrator == "static" else gravity + contact.activation_distance / model.dt**2
        return 10 * (diagonal.sum(1) + 2 * off.sum(1)) / max(area, 1e-12) * pressed + 1e-3

    def _mass(self, per: Per) -> tuple[Tensor, Tensor]:
        """The diagonal of the mass matrix [B, N], and its entries for pairs of nodes [B, m]."""
        diagonal, off = zip(*(part.mass(per) for part in self._parts), strict=True)
        return torch.cat(diagonal, 1), torch.cat(off, 1)

    # ---- the step

    def step(self, state: SolidState, control: SolidControl) -> SolidState:
        """Advances by `model.dt` [s]; differentiable in state, control and every parameter of the model.

        Raises:
            ShapeError: if a tensor has the wrong shape, dtype or device.
        """
        self._check(state, control)
        status = self._readiness(state, control)
        if bool((status == Outcome.OK).all()):
            return keep_failed(state, self._advance(state, control, None))
        marked = state.replace(status=status)
        good = marked.ok.nonzero()[:, 0]
        if not len(good):
            return marked
        stepped = self._advance(state[good], control[good], good)
        new = SolidState(*(old.index_copy(0, good, part) for old, part in zip(marked.tensors(), stepped.tensors(), strict=True)))
        return keep_failed(marked, new)

    def _readiness(self, state: SolidState, control: SolidControl) -> Tensor:
        """What is wrong with each environment before the step, int32 [B]."""
        status = state.status.clone()
        for tensor in (*state.floats().values(), *control.floats().values()):
            broken = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
            status[broken & (status == Outcome.OK)] = int(Outcome.NOT_FINITE)
        return status

    def _advance(self, state: SolidState, control: SolidControl, index: Tensor | None) -> SolidState:
        task = self._task(state, control, index)
        self.report = []
        end, status, stiffness = ImplicitStep.apply(self._structure, task.settings, self.report, *task.inputs, *task.parameters())
        position = end[:, : 3 * self._nodes].unflatten(1, (self._nodes, 3))
        plastic = [
            part.flow(end, group, bend, curvature)
            for part, group, bend, curvature in zip(self._parts, task.groups, *task.plastic, strict=True)
        ]
        bend, curvature = (torch.cat(pieces, 1) for pieces in zip(*plastic, strict=True))
        velocity = (position - task.reference) / task.span
        return SolidState(
            status, position, velocity, end[:, 3 * self._nodes :], bend, curvature, task.centre, task.turn, state.position, state.velocity,
            stiffness, state.age + 1,
        )  # fmt: skip

    def _task(self, state: SolidState, control: SolidControl, index: Tensor | None) -> _Task:
        """What a step is to solve, as differentiable functions of state, control and model."""
        model, batch = self.model, state.batch

        def per(value: Any, shape: tuple[int, ...] = ()) -> Tensor:
            return per_environment(value, batch, index, shape)

        centre = state.handle_position + model.dt * control.linear_velocity
        turn = turned(state.handle_rotation, control.angular_velocity, torch.full((1,), model.dt, dtype=torch.float64))
        turn = turn / torch.linalg.vector_norm(turn, dim=-1, keepdim=True)
        target = state.position
        if model.handles:
            owner = self._owner.clamp(min=0)
            carried = centre[:, owner] + (rotation_matrix(turn)[:, owner] @ self._arm[..., None])[..., 0]
            target = torch.where((self._owner >= 0)[:, None], carried, target)
        span, reference, speed = torch.full((batch, 1, 1), model.dt, dtype=torch.float64), state.position, state.velocity
        if model.integrator == "bdf2":  # whose first step is one of implicit Euler: there is no state before it
            first = (state.age == 0)[:, None, None]
            span = torch.where(first, span, 2 * model.dt / 3)
            reference = torch.where(first, reference, (4 * state.position - state.previous_position) / 3)
            speed = torch.where(first, speed, (4 * state.velocity - state.previous_velocity) / 3)
        predicted = reference if model.integrator == "static" else reference + span * speed

        diagonal, off = self._mass(per)
        gravity = per(model.gravity, (3,))
        a, b = torch.from_numpy(self._structure.coupled).unbind(1)
        weight = diagonal.index_add(1, a, off).index_add(1, b, off)
        load = weight[..., None] * gravity[:, None] + control.force
        plastic, groups = self._parameters(state, per)
        contact = model.contact
        settings = Settings(span.flatten().tolist(), contact.activation_distance if contact else 0.0, model.tolerance, model.max_iterations)
        rotations = state.edge_rotation
        still = torch.zeros_like(rotations)
        inputs = (
            torch.cat([state.position.flatten(1), rotations], 1),
            state.contact_stiffness,
            torch.cat([predicted.flatten(1), still], 1),
            torch.cat([reference.flatten(1), rotations], 1),
            torch.cat([target.flatten(1), rotations], 1),
            torch.cat([diagonal, off], 1),
            torch.cat([load.flatten(1), still], 1),
            self._friction(per),
        )
        return _Task(settings, inputs, groups, span, reference, centre, turn, plastic)

    def _parameters(self, state: SolidState, per: Per) -> tuple[_Plastic, list[list[Tensor]]]:
        """Plastic bend and curvature of each part, and the parameters of its terms."""
        rows = self._rows()
        plastic = state.plastic_bend.split(rows, 1), state.plastic_curvature.split(rows, 1)
        return plastic, [part.parameters(per, *old) for part, *old in zip(self._parts, *plastic, strict=True)]

    # ---- what a state says

    def handle_wrench(self, state: SolidState) -> Tensor:
        """Force [N] and torque about the handle's position [N m] that the elasticity of the attached bodies exerts on each handle [B, H, 6].

        It is what a force-torque sensor in the wrist behind a soft fingertip feels of the fingertip's deformation. Not in it are weight and
        inertia of the attached vertices, contact and control forces right at them, and so all that a handle with an obstacle feels.
        In an equilibrium it balances loads, weight and contact of what is not attached. NaN in environments whose state is not finite.
        Differentiable in position, edge_rotation, plastic_bend, plastic_curvature, handle_position, and in the parameters of the materials.

        Raises:
            ShapeError: if a tensor of the state has the wrong shape, dtype or device.
        """
        control = self.rest_control(state.batch)
        self._check(state, control)
        finite = self._readiness(state.replace(status=torch.zeros_like(state.status)), control) == Outcome.OK
        index = None if bool(finite.all()) else finite.nonzero()[:, 0]
        chosen = state if index is None else state[index]

        def per(value: Any, shape: tuple[int, ...] = ()) -> Tensor:
            return per_environment(value, chosen.batch, index, shape)

        _, groups = self._parameters(chosen, per)
        found = elastic_wrench(self._structure.terms, [table for group in groups for table in group], chosen, self._owner)
        return found if index is None else found.new_full((state.batch, *found.shape[1:]), math.nan).index_copy(0, index, found)

    def energies(self, state: SolidState) -> dict[str, Tensor]:
        """Energies of every environment by their names [B] [J], without derivatives.

        They are kinetic, elastic (in shells: what is stored and what plastic flow took in the last step), gravity (zero where all nodes are
        at the origin) and contact.
        """
        state = state.detach()
        self._check(state, self.rest_control(state.batch))
        with torch.no_grad():
            task = self._task(state, self.rest_control(state.batch), None)
        found: dict[str, list[float]] = {"kinetic": [], "elastic": [], "gravity": [], "contact": []}
        for b in range(state.batch):
            potential = self._potential(task, b, float(state.contact_stiffness[b]))
            data, u = potential.data, potential.data.start
            speed = np.concatenate([state.velocity[b].detach().numpy().ravel(), np.zeros(self._unknowns - 3 * self._nodes)])
            kinetic = dataclasses.replace(data, predicted=u - speed * data.span, span=1.0)
            moving = Potential(dataclasses.replace(self._structure, static=False), kinetic, None)
            found["kinetic"].append(0.5 * float(speed @ moving.inertia(speed)))
            found["elastic"].append(potential.elastic_energy(u))
            found["gravity"].append(-float(data.load @ u))
            found["contact"].append(potential.barrier_energy(u))
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}

    def _potential(self, task: _Task, b: int, stiffness: float) -> Potential:
        """The potential of environment b without inertia."""
        data = step_data(task.settings, b, *(tensor[b].detach() for tensor in (task.inputs[0], *task.inputs[2:], *task.parameters())))
        structure = dataclasses.replace(self._structure, static=True)
        potential = Potential(structure, data, Surface(structure, self._unknowns) if structure.surface is not None else None)
        potential.stiffness = stiffness
        return potential

    def negative_modes(self, state: SolidState) -> Tensor:
        """How many independent ways out of each state lower its energy to second order, int64 [B]; 0 is a stable equilibrium.

        The energy is that of elasticity and contact under dead loads, without inertia or friction; its Hessian's inertia is read off L D L'.
        """
        state = state.detach()
        self._check(state, self.rest_control(state.batch))
        with torch.no_grad():
            task = self._task(state, self.rest_control(state.batch), None)
        counts = []
        for b in range(state.batch):
            potential = self._potential(task, b, float(state.contact_stiffness[b]))
            u = potential.data.start
            pattern, values = potential.matrix(potential.blocks(u, False), potential.barrier_matrices(u, False))
            factor, probe = pattern.factor(values), np.cos(np.arange(pattern.n))  # which no motion is orthogonal to
            if factor is None or is_lost(values[pattern.on_diagonal], factor.solve(probe), probe):
                raise StepError("The Hessian is singular there: hold the bodies, so that no motion is free.")
            counts.append(factor.inertia[1])
        return torch.tensor(counts)

    def _friction(self, per: Per) -> Tensor:
        """Coefficients of the pairs of bodies that can touch [B, P], in the surface's order."""
        contact, surface = self.model.contact, self._structure.surface
        if contact is None or surface is None or not surface.body_pairs:
            return per(0.0)[:, None][:, :0]
        if not isinstance(contact.friction, Mapping):
            return per(contact.friction)[:, None].expand(-1, len(surface.body_pairs))
        named = {frozenset(pair): value for pair, value in contact.friction.items()}
        names = [body.name for body in self.model.bodies]
        values = [named.get(frozenset((names[a], names[b])), contact.default_friction) for a, b in surface.body_pairs]
        return torch.stack([per(value) for value in values], 1)

    def _check_batch(self, batch: int) -> None:
        wanted = self.model.environments
        if batch < 1 or wanted not in (None, batch):
            given = "batches have at least one" if wanted is None else f"the parameters of the model are for {wanted}"
            raise ShapeError(f"There are {batch} environments, but {given}.")

    def _check(self, state: SolidState, control: SolidControl) -> None:
        self._check_batch(state.batch)
        b, n, h, r = state.batch, self._nodes, len(self.model.handles), sum(self._rows())
        shapes = ((b, n, 3), (b, n, 3), (b, self._unknowns - 3 * n), (b, r, 3), (b, r), (b, h, 3), (b, h, 4), (b, n, 3), (b, n, 3), (b,))
        like = self._arm
        for name, shape in zip(state.names()[1:-1], shapes, strict=True):
            same_shape(f"state.{name}", getattr(state, name), shape, like)
        same_shape("state.age", state.age, (b,), torch.zeros((), dtype=torch.int64))
        for name, shape in zip(control.names(), ((b, h, 3), (b, h, 3), (b, n, 3)), strict=True):
            same_shape(f"control.{name}", getattr(control, name), shape, like)


_Plastic = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Plastic bend [B, r, 3] and gathered curvature [B, r] of each part."""


@dataclasses.dataclass(frozen=True)
class _Task:
    """A step of a batch: what `ImplicitStep` takes, and what the new state takes from before it."""

    settings: Settings
    inputs: tuple[Tensor, ...]
    groups: list[list[Tensor]]
    span: Tensor
    reference: Tensor
    centre: Tensor
    turn: Tensor
    plastic: _Plastic

    def parameters(self) -> list[Tensor]:
        """Those of all terms of all bodies, in order."""
        return [tensor for group in self.groups for tensor in group]


def _area(part: Part) -> float:
    """Of the surface of a body, both sides of a shell [m^2]."""
    corner = part.body.mesh.vertices[part.body.mesh.faces]
    area = 0.5 * float(np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum())
    return 2 * area if isinstance(part.body, Shell) else area
