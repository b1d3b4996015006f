"""What tasks on thin sheets have in common: sheets, grippers with soft fingertips, contact, observations, pictures."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError, UnknownNameError
from ...sim.core import Outcome, keep_failed
from ...sim.mesh import Mesh, load_mesh
from ...sim.mesh_shapes import fingertip, sheet
from ...sim.shell import ShellMaterial, card, cloth, paper, plastic_film
from ...sim.solid import Contact, Pin, Rigid, Shell, SolidControl, SolidModel, SolidSolver, SolidState, StableNeoHookean
from ...sim.solid.bodies import Body
from ..goal_task import GoalTask
from ..identify import Parameter
from ..task import Settings, free_box, unit_box
from .gripper import Gripper, motion
from .stiffness import bending_stiffness, with_material

if TYPE_CHECKING:
    from ...sim.render import Drawing

MATERIALS: dict[str, Callable[[], ShellMaterial]] = {"paper": paper, "card": card, "cloth": cloth, "film": plastic_film}
"""What sheets can be of."""
OBJECT_STIFFNESS = 1e6
"""With which objects keep their shape [Pa]: pressures of the tasks deform them by a thousandth. With 1e9 Pa a step of a rolling ball takes 60 Newton
iterations, with this 10: a rotation leaves the straight line along which Newton's method goes, at a cost that grows with the stiffness."""
COLORS = {"sheet": (0.93, 0.90, 0.82), "tip": (0.36, 0.60, 0.86), "table": (0.72, 0.74, 0.76), "object": (0.85, 0.45, 0.30)}


@dataclasses.dataclass(frozen=True)
class ShellSettings(Settings):
    """Settings of all tasks on sheets. Lengths in metres."""

    horizon: int = 50
    dt: float = 0.005
    material: str = "paper"
    """Of the sheet: paper, card, cloth or film."""
    cell: float = 0.0075
    """Length of the edges of a sheet's mesh."""
    sheet_mesh: str = ""
    """A file with a mesh of the user in place of the sheet, as it lies at rest; empty: the task's own."""
    tip_mesh: str = ""
    """A file of tetrahedra in place of a fingertip: pole down, its flat top, by which it is held, in the plane of its largest z."""
    tip_radius: float = 0.0075
    tip_wall: float = 0.003
    """Thickness of a fingertip's wall."""
    tip_vertices: int = 8
    """Around a fingertip's rim."""
    tip_modulus: float = 3e5
    """Young's modulus of a fingertip [Pa]; silicone."""
    tip_friction: float = 1.0
    """Of fingertips on everything."""
    table_friction: float = 0.2
    """Of the table on everything but fingertips."""
    sheet_friction: float = 0.3
    """Of sheets on themselves, on each other and on objects."""
    activation_distance: float = 5e-4
    """From which surfaces repel each other."""
    friction_speed: float = 0.01
    """Sliding slower than this counts as sticking [m/s]."""
    max_speed: float = 0.2
    """Of a gripper along each axis for an action of 1 [m/s]."""
    max_spin: float = 10.0
    """Of a gripper about each axis for an action of 1 [rad/s]."""
    force_limit: float = 10.0
    """Largest force that a finger may bear [N]; beyond it the episode ends as OVERLOADED."""
    tolerance: float = 1e-6
    """Of Newton's method [m/s]."""
    max_iterations: int = 150
    """Of Newton's method in a step; a motion so violent that it takes more ends the episode as NOT_CONVERGED."""
    observed: int = 16
    """Vertices of the sheet that a policy sees."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a task on sheets is made of.

    Args:
        bodies: without fingertips. The part of a name before its first point says what it is: sheet, object, or table.
        grippers: with which the actions deal.
        pins: what is held.
    """

    bodies: Sequence[Body]
    grippers: Sequence[Gripper]
    pins: Sequence[Pin] = ()


class ShellTask(GoalTask):
    """A task whose actions are the velocities of grippers: for each one linear along x, y, z, then angular about x, y, z.

    Before an episode begins, grippers of two fingers close and everything comes to rest on what it lies on (`closing`, `settling` steps).
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    gradient_cost: ClassVar[float] = 1.5
    """1.1 to 1.6 were measured: the adjoint of a step is one linear solve, Newton's method has done about ten."""
    closing: ClassVar[int] = 6
    """Steps in which grippers close before an episode begins;"""
    settling: ClassVar[int] = 0
    """and steps after it in which everything comes to rest."""

    solver: SolidSolver

    def build(self) -> None:
        """Makes the solver of `scene()`, and lets its start come to rest."""
        own = self.settings
        if own.material not in MATERIALS:
            raise UnknownNameError(f"There is no material {own.material!r} for sheets; choose one of {', '.join(MATERIALS)}.")
        self.sheet_material = MATERIALS[own.material]()
        scene = self.scene()
        self.grippers = list(scene.grippers)
        self.solver = SolidSolver(self._model(scene))
        self._start = self._settled()
        self.action_space = unit_box(6 * len(self.grippers))
        self.observation_space = free_box(self.observe(self._start).shape[1])

    @property
    def knots(self) -> int | None:
        """One for every five steps: a gripper that may change its velocity in every step shakes, and what it shakes is hard to simulate."""
        return max(1, self.horizon // 5)

    @abstractmethod
    def scene(self) -> Scene:
        """The bodies and grippers of the task's settings, as they start."""

    def _model(self, scene: Scene) -> SolidModel:
        """The scene with its fingertips and with contact."""
        own = self.settings
        tip = self._tip()
        rubber = StableNeoHookean(2000.0, own.tip_modulus, 0.2)
        bodies = [*scene.bodies, *(body for gripper in self.grippers for body in gripper.bodies(tip, rubber))]
        contact = Contact(
            own.activation_distance, self.offset, friction=self._friction([body.name for body in bodies]), friction_speed=own.friction_speed
        )
        handles = [handle for gripper in self.grippers for handle in gripper.handles(tip)]
        return SolidModel(
            bodies, own.dt, contact=contact, handles=handles, pins=scene.pins, tolerance=own.tolerance, max_iterations=own.max_iterations
        )

    @property
    def offset(self) -> float:
        """The gap that surfaces always keep, the thickness of the sheet [m]."""
        return float(self.sheet_material.thickness)

    def lift(self, gaps: float = 1.0) -> float:
        """A height above a surface at which something may start without touching it: just outside the reach of contact [m]."""
        return gaps * (self.offset + 1.05 * self.settings.activation_distance)

    def sheet(self, mesh: Mesh, name: str = "sheet", **given: Any) -> Shell:
        """A sheet of the task's material; of the user's mesh, placed as it is, where the settings name one."""
        chosen = self.settings.sheet_mesh
        return Shell(load_mesh(chosen) if chosen and name == "sheet" else mesh, name, material=self.sheet_material, **given)

    def object(self, mesh: Mesh, density: float, place: tuple[float, float, float]) -> Rigid:
        """The thing that is handled: the user's mesh where the settings name one, with the middle of its lowest side at `place` [m]."""
        chosen = getattr(self.settings, "object_mesh", "")
        mesh = load_mesh(chosen) if chosen else mesh
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        shift = np.array(place) - np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        return Rigid(Mesh(mesh.vertices + shift, mesh.faces), "object", density=density, stiffness=OBJECT_STIFFNESS)

    def control(self, action: Tensor, state: SolidState) -> SolidControl:
        """Velocities of the handles."""
        own = self.settings
        scale = torch.tensor([own.max_speed] * 3 + [own.max_spin] * 3, dtype=action.dtype, device=action.device)
        velocity = action.view(len(action), len(self.grippers), 6) * scale
        return self._moved(state, velocity, torch.zeros_like(velocity[..., 0]))

    def _moved(self, state: SolidState, velocity: Tensor, closing: Tensor) -> SolidControl:
        linear, angular = motion(self.grippers, state.handle_position, state.handle_rotation, velocity, closing)
        return SolidControl(linear, angular, torch.zeros_like(state.position))

    def initial_state(self, batch: int, seed: int) -> SolidState:
        """The start at rest, with random velocities of the sheet of up to 1 mm/s, so that seeds differ and nothing is degenerate."""
        draw = torch.Generator().manual_seed(seed)
        state = self._start
        noise = torch.zeros_like(state.velocity)
        for body in self.solver.model.bodies:
            if isinstance(body, Shell):
                nodes = self.solver.model.nodes(body.name)
                noise[:, nodes] = 1e-3 * (2 * torch.rand(1, nodes.stop - nodes.start, 3, generator=draw, dtype=torch.float64) - 1)
        noise[:, torch.from_numpy(self.solver.model.held())] = 0.0
        return state.replace(velocity=state.velocity + noise).repeat(batch)

    @torch.no_grad()
    def _settled(self) -> SolidState:
        """The state in which an episode begins."""
        own, state = self.settings, self.solver.initial_state(1)
        steps = self.settling if not any(gripper.close for gripper in self.grippers) else self.closing + self.settling
        for t in range(steps):
            closing = [[gripper.close / (self.closing * own.dt) if t < self.closing else 0.0 for gripper in self.grippers]]
            still = torch.zeros(1, len(self.grippers), 6, dtype=self.dtype)
            state = self.solver.step(state, self._moved(state, still, torch.tensor(closing, dtype=self.dtype)))
            if not bool(state.ok.all()):
                raise ModelError(f"{self.name}: the scene does not come to rest, step {t} of it is {state.outcomes()[0].name}.")
        return state.replace(age=torch.zeros_like(state.age))

    def vertices(self, state: SolidState, name: str) -> Tensor:
        """Places of the vertices of a body [B, V, 3] [m]."""
        return self.solver.vertices(state, name)

    def middle(self, state: SolidState, name: str) -> Tensor:
        """The mean of the vertices of a body [B, 3] [m]."""
        return self.vertices(state, name).mean(1)

    def observe(self, state: SolidState) -> Tensor:
        """Places and velocities of some vertices of sheets, corners of the frames of objects; handles, and what force they feel."""
        parts = []
        for body in self.solver.model.bodies:
            nodes = self.solver.model.nodes(body.name)
            if isinstance(body, Shell):
                count = nodes.stop - nodes.start
                seen = torch.linspace(nodes.start, nodes.stop - 1, min(count, self.settings.observed)).long()
                parts += [state.position[:, seen], state.velocity[:, seen]]
            elif isinstance(body, Rigid):
                parts += [state.position[:, nodes], state.velocity[:, nodes]]
        parts += [state.handle_position, state.handle_rotation, self.solver.handle_wrench(state)]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def advance(self, solver: Any, state: SolidState, action: Tensor) -> SolidState:
        """A step; where a finger bears more than the limit, the episode ends as OVERLOADED."""
        return self._within_limit(state, solver.step(state, self.control(action, state)))

    def _within_limit(self, state: SolidState, following: SolidState) -> SolidState:
        """`following`, except that environments in which a finger bears more than the limit keep `state`, marked as OVERLOADED."""
        if not self.grippers:
            return following
        with torch.no_grad():
            force = torch.linalg.vector_norm(self.solver.handle_wrench(following)[..., :3], dim=-1)
        over = following.ok & (force > self.settings.force_limit).any(1)
        status = torch.where(over, torch.full_like(following.status, int(Outcome.OVERLOADED)), following.status)
        return keep_failed(state, following.replace(status=status))

    def _tip(self) -> Mesh:
        own = self.settings
        if own.tip_mesh:
            return load_mesh(own.tip_mesh)
        rings = max(2, round(own.tip_vertices / 3))
        return fingertip(own.tip_radius, own.tip_wall, around=own.tip_vertices, rings=rings, layers=max(1, own.tip_vertices // 8))

    def _friction(self, names: Sequence[str]) -> dict[tuple[str, str], float]:
        """A coefficient for each pair of bodies, by what they are."""
        own = self.settings
        values = {"tip_friction": own.tip_friction, "table_friction": own.table_friction, "friction": own.sheet_friction}
        return {(a, b): values[self._touching(a, b)] for i, a in enumerate(names) for b in names[i:]}

    def _touching(self, a: str, b: str) -> str:
        """The name of the friction of two bodies on each other."""
        tips = {name for gripper in self.grippers for name in gripper.names()}
        if a in tips or b in tips:
            return "tip_friction"
        return "table_friction" if "table" in (a, b) else "friction"

    def identifiable(self) -> dict[str, Parameter]:
        """Friction, bending stiffness, density and yield curvature of the sheet; those that the scene has."""
        own, material = self.settings, self.sheet_material
        present = {self._touching(a, b) for a, b in self._contact_friction()}
        stiffness = bending_stiffness(material.youngs_modulus, material.thickness, material.poisson_ratio)
        found = {
            "friction": Parameter(own.sheet_friction, "", "of sheets on themselves, on each other and on objects"),
            "table_friction": Parameter(own.table_friction, "", "of the table on all but fingertips"),
            "tip_friction": Parameter(own.tip_friction, "", "of fingertips on everything"),
            "bending_stiffness": Parameter(float(stiffness), "N m", "of the sheet; it stretches more or less with it"),
            "yield_curvature": Parameter(float(material.yield_curvature), "1/m", "from which the sheet keeps a crease"),
            "density": Parameter(float(material.density), "kg/m^3", "of the sheet"),
        }
        gone = {"friction", "table_friction", "tip_friction"} - present
        gone |= set() if math.isfinite(material.yield_curvature) else {"yield_curvature"}
        return {name: parameter for name, parameter in found.items() if name not in gone}

    def with_parameters(self, values: Mapping[str, Any]) -> SolidSolver:
        """A solver with other values of `identifiable` parameters, which may be tensors; it takes 20 to 40 ms in small scenes."""
        for name in values:
            if name not in self.identifiable():
                raise UnknownNameError(f"{self.name} has no parameter {name!r}; there are {', '.join(self.identifiable())}.")
        model, material = self.solver.model, self.sheet_material
        changes = {name: values[name] for name in ("yield_curvature", "density") if name in values}
        if "bending_stiffness" in values:
            per_modulus = bending_stiffness(1.0, material.thickness, material.poisson_ratio)
            changes["youngs_modulus"] = values["bending_stiffness"] / per_modulus
        friction = {pair: values.get(self._touching(*pair), value) for pair, value in self._contact_friction().items()}
        assert model.contact is not None
        contact = dataclasses.replace(model.contact, friction=friction)
        return SolidSolver(dataclasses.replace(with_material(model, changes), contact=contact))

    def _contact_friction(self) -> Mapping[tuple[str, str], Any]:
        contact = self.solver.model.contact
        assert contact is not None
        assert isinstance(contact.friction, Mapping)
        return contact.friction

    def markers(self, state: SolidState) -> Tensor:
        """The vertices of the sheets that are not held `[B, M, 3]` [m]."""
        model = self.solver.model
        free = np.logical_not(model.held().all(1))
        nodes = np.concatenate(
            [np.arange(model.nodes(body.name).start, model.nodes(body.name).stop) for body in model.bodies if isinstance(body, Shell)]
        )
        return state.position[:, torch.from_numpy(nodes[free[nodes]])]

    def draw(self, state: SolidState, env: int) -> Drawing:
        """All bodies as surfaces."""
        from ...sim.render import Drawing, Surface

        meshes = []
        tips = {name for gripper in self.grippers for name in gripper.names()}
        for body in self.solver.model.bodies:
            kind = "tip" if body.name in tips else body.name.partition(".")[0]
            place = self.vertices(state[env], body.name)[0].detach().numpy()
            meshes.append(Surface(place, body.mesh.faces, COLORS.get(kind, COLORS["object"]), smooth=not isinstance(body, Shell)))
        return Drawing(np.zeros((0, 3)), np.zeros((0, 3)), 1e-3, meshes)


def centred(mesh: Mesh, *, height: float = 0.0) -> Mesh:
    """A mesh moved to the middle over the origin, at a height [m]."""
    middle = 0.5 * (mesh.vertices.min(0) + mesh.vertices.max(0))
    return Mesh(mesh.vertices + np.array([-middle[0], -middle[1], height]), mesh.faces, mesh.tetrahedra)


def table(length: float, width: float, *, start: float | None = None) -> Mesh:
    """A table top in the plane z = 0 about the middle of y, along x from `start` or about the middle as well [m]."""
    top = sheet(length, width, 2, 2)
    return Mesh(top.vertices - np.array([length / 2 if start is None else -start, width / 2, 0.0]), top.faces)
