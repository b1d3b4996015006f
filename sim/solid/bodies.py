"""What a scene of the implicit solver is made of: bodies, handles that move them, pins and clamps that hold them, contact."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ...errors import MeshError, ModelError
from ..materials.base import Parameter
from ..mesh import Mesh, check_mesh

if TYPE_CHECKING:
    from ..shell.materials import ShellMaterial


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """A body; every kind has a surface that touches others.

    Args:
        mesh: its shape [m].
        name: what pins, handles and errors call it.
    """

    mesh: Mesh
    name: str

    needs_closed = False
    needs_solid = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ModelError("A body needs a name.")
        report = check_mesh(self.mesh)
        broken = {
            "no faces": not len(self.mesh.faces),
            "vertices that are not finite": len(report.nonfinite_vertices),
            "faces without area": len(report.degenerate_faces),
            "duplicated faces": len(report.duplicated_faces),
            "inverted or flat tetrahedra": len(report.inverted_tetrahedra),
            "edges of more than two faces": len(report.nonmanifold_edges) and not isinstance(self, Kinematic),
            "faces wound against their neighbours": len(report.inverted_faces) and not report.balanced,
        }
        used = np.union1d(self.mesh.faces, self.mesh.tetrahedra)
        loose = np.setdiff1d(np.arange(len(self.mesh.vertices)), used)
        problems = [line for line in report.problems() if not line.startswith(("open", "duplicated vert", "it encloses"))]
        if any(broken.values()):
            raise MeshError(f"Body {self.name!r} has {next(kind for kind, is_so in broken.items() if is_so)}: {'; '.join(problems)}.")
        if len(loose):
            raise MeshError(f"Body {self.name!r} has {len(loose)} vertices that no element uses ({_few(loose)}); remove them.")
        if self.needs_closed and not report.closed:
            raise MeshError(f"Body {self.name!r} must have a closed surface: {'; '.join(report.problems())}.")
        if self.needs_solid and not len(self.mesh.tetrahedra):
            raise MeshError(f"Body {self.name!r} has no tetrahedra; mesh its volume first, or make it a Shell or a Rigid.")


@dataclasses.dataclass(frozen=True, eq=False)
class Shell(Body):
    """A thin shell; its mesh is the mid-surface at rest.

    Args:
        material: moduli, thickness, density, and what of plasticity.
        rest: places of the vertices at rest [V, 3] [m] where they are to have derivatives; by default those of the mesh.
        rest_angle: dihedral angles at rest [E] [rad], in the order of `ShellTopology.edges`; by default those of `rest`.
        start: places at the start [V, 3] [m]; by default those of the mesh.
        velocity: at the start, [3] or [V, 3] [m/s].
    """

    material: ShellMaterial = None  # type: ignore[assignment]
    rest: Tensor | None = None
    rest_angle: Tensor | None = None
    start: ArrayLike | None = None
    velocity: ArrayLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _wanted(self, "material", "a ShellMaterial, such as paper()")


@dataclasses.dataclass(frozen=True, eq=False)
class Solid(Body):
    """An elastic solid of tetrahedra.

    Args:
        material: StableNeoHookean, FixedCorotated or LinearElastic.
        rest: places of the vertices at rest [V, 3] [m] where they are to have derivatives; by default those of the mesh.
        start: places at the start [V, 3] [m]; by default those of the mesh.
        velocity: at the start, [3] or [V, 3] [m/s].
    """

    material: Any = None
    rest: Tensor | None = None
    start: ArrayLike | None = None
    velocity: ArrayLike | None = None

    needs_solid = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _wanted(self, "material", "a solid material, such as StableNeoHookean(...)")


@dataclasses.dataclass(frozen=True, eq=False)
class Rigid(Body):
    """A body that keeps its shape: an affine body, held by a stiff energy against all but rotations (Lan et al. 2022, affine body dynamics).

    Args:
        density: [kg/m^3].
        stiffness: of that energy [Pa]; pressures deform the body by about their ratio to it.
        velocity: at the start [3] [m/s].
        angular_velocity: at the start, about the centre of mass [3] [rad/s].
    """

    density: Parameter = None  # type: ignore[assignment]
    stiffness: float = 1e9
    velocity: ArrayLike = (0.0, 0.0, 0.0)
    angular_velocity: ArrayLike = (0.0, 0.0, 0.0)

    needs_closed = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _wanted(self, "density", "a density in kg/m^3")
        positive(f"Body {self.name!r}: density", self.density)
        positive(f"Body {self.name!r}: stiffness", self.stiffness)


@dataclasses.dataclass(frozen=True, eq=False)
class Kinematic(Body):
    """An obstacle that feels no force: it rests, or follows the handle that it is attached to."""


@dataclasses.dataclass(frozen=True)
class Handle:
    """A rigid frame that moves as the control says and takes what is attached to it along, such as a gripper.

    Args:
        name: what errors call it.
        position: where it starts [3] [m]; turns are about it.
        attached: the vertices of each body that follow it; None stands for all of a body.
    """

    name: str
    position: Sequence[float]
    attached: Mapping[str, Sequence[int] | np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Pin:
    """Vertices that stay where they start.

    Args:
        body: its name.
        vertices: which, or None for all.
        axes: along which axes they are held.
    """

    body: str
    vertices: Sequence[int] | np.ndarray | None = None
    axes: str = "xyz"

    def __post_init__(self) -> None:
        if not self.axes or set(self.axes) - set("xyz"):
            raise ModelError(f"Pin of {self.body!r}: axes is {self.axes!r}; it must be made of x, y and z.")


@dataclasses.dataclass(frozen=True, eq=False)
class Clamp:
    """Boundary edges of a shell whose tangent plane is prescribed; their vertices are held, or not, by pins.

    Args:
        body: name of a shell with mid-edge bending.
        edges: pairs of vertices [n, 2].
        direction: in the tangent plane, out of the shell and not along the edge, [3] or [n, 3]; on a plane of symmetry its normal. At
            rest it is `rest_direction`.
        rest_direction: the same in the rest shape, by default equal to `direction`.
    """

    body: str
    edges: ArrayLike
    direction: Tensor | ArrayLike
    rest_direction: Tensor | ArrayLike | None = None


@dataclasses.dataclass(frozen=True)
class Contact:
    """Contact of all surfaces, without penetration: the barrier of Li et al. 2020, "Incremental potential contact".

    Args:
        activation_distance: surfaces nearer than this (beyond the offset) push each other away [m].
        offset: the least distance that surfaces keep [m], one number for the scene: the thickness of its shells.
        friction: Coulomb's coefficient, for all bodies or for pairs of names; pairs that are not named have `default_friction`.
        default_friction: of the pairs that `friction` does not name.
        friction_speed: sliding slower than this [m/s] counts as sticking; the friction force grows smoothly up to it.
        stiffness: of the barrier [Pa]; by default from masses, time step and gravity. Where a gap gets below a twentieth of the
            activation distance it grows, for the rest of the simulation.
        self_contact: names of the shells and solids that touch themselves, or None for all shells.
        ignored: pairs of names that pass through each other.
    """

    activation_distance: float = 1e-3
    offset: float = 0.0
    friction: Parameter | Mapping[tuple[str, str], Parameter] = 0.0
    default_friction: Parameter = 0.0
    friction_speed: float = 1e-3
    stiffness: Parameter | None = None
    self_contact: Sequence[str] | None = None
    ignored: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        positive("Contact: activation_distance", self.activation_distance)
        positive("Contact: friction_speed", self.friction_speed)
        if not (math.isfinite(self.offset) and self.offset >= 0):
            raise ModelError(f"Contact: offset is {self.offset} m; it must be at least 0.")
        if self.stiffness is not None:
            positive("Contact: stiffness", self.stiffness)
        for value in [self.default_friction, *(self.friction.values() if isinstance(self.friction, Mapping) else [self.friction])]:
            tensor = torch.as_tensor(value).detach()
            if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
                raise ModelError(f"Contact: a coefficient of friction is {value}; it must be at least 0.")


def positive(what: str, value: Parameter) -> None:
    """Raises ModelError unless a number, or all of a tensor, is finite and above zero."""
    tensor = torch.as_tensor(value).detach()
    if not bool((torch.isfinite(tensor) & (tensor > 0)).all()):
        raise ModelError(f"{what} is {value}; it must be finite and positive.")


def _wanted(body: Body, name: str, kind: str) -> None:
    if getattr(body, name) is None:
        raise ModelError(f"Body {body.name!r} needs {name}=: {kind}.")


def _few(ids: np.ndarray) -> str:
    return ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
