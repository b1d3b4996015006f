"""What a scene of the implicit solver is made of: bodies, handles that move them, pins and clamps that hold them, contact."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ...errors import MeshError, ModelError
from ..materials.base import STIFFEST, Parameter, numbers
from ..mesh import Mesh, MeshReport, check_mesh
from .materials import SOLID_MATERIALS, SolidMaterial

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
    may_be_loose = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            told = repr(self.name) if isinstance(self.name, str) else f"a {type(self.name).__name__}"
            raise ModelError(f"A body needs a name, a string that is not empty; it is {told}.")
        if not isinstance(self.mesh, Mesh):
            raise ModelError(f"Body {self.name!r}: mesh is a {type(self.mesh).__name__}; it must be a Mesh, such as load_mesh reads.")
        if not len(self.mesh.faces):
            raise MeshError(f"Body {self.name!r} has no faces, and so no surface that could touch anything.")
        report = self._require_sound(self.mesh)
        loose = np.setdiff1d(np.arange(len(self.mesh.vertices)), self.mesh.tetrahedra if self.needs_solid else self.mesh.faces)
        if self.needs_solid and not len(self.mesh.tetrahedra):
            raise MeshError(f"Body {self.name!r} has no tetrahedra; mesh its volume first, or make it a Shell or a Rigid.")
        if len(loose) and not self.may_be_loose:
            kind = "tetrahedron" if self.needs_solid else "face"
            raise MeshError(f"Body {self.name!r} has vertices that no {kind} uses ({_few(loose)}); remove them.")
        if self.needs_closed and not report.closed:
            raise MeshError(f"Body {self.name!r} must have a closed surface: {'; '.join(report.problems())}.")

    def _require_sound(self, mesh: Mesh, which: str = "") -> MeshReport:
        """Raises MeshError where an element of a mesh is broken, and tells what is known of it otherwise."""
        report = check_mesh(mesh)
        branched = () if isinstance(self, Kinematic) else report.nonmanifold_edges
        wound = report.inverted_faces if isinstance(self, Shell) and not report.balanced else ()
        for kind, ids, advice in (
            ("vertices that are not finite", report.nonfinite_vertices, "mend them"),
            ("faces without area", report.degenerate_faces, "remove them, or mesh the surface anew"),
            ("faces that are there twice", report.duplicated_faces, "keep one of each"),
            (
                "inverted or flat tetrahedra",
                report.inverted_tetrahedra,
                "swap two corners of an inverted one; mesh the volume anew where flat",
            ),
            ("edges of more than two faces", branched, "split the surface there"),
            ("faces wound against their neighbours", wound, "flip them"),
        ):
            if len(ids):
                raise MeshError(f"Body {self.name!r} has {kind}{which} ({_few(np.asarray(ids))}); {advice}.")
        return report

    def _require_fields(self, **shapes: tuple[tuple[int, ...], ...]) -> None:
        """Raises ModelError unless each field is None, or finite and of one of some shapes."""
        for name, allowed in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            tensor = numbers(f"Body {self.name!r}: {name}", value)
            if tuple(tensor.shape) not in allowed or not bool(torch.isfinite(tensor).all()):
                wanted = " or ".join(str(list(shape)) for shape in allowed)
                raise ModelError(f"Body {self.name!r}: {name} must be finite and of shape {wanted}; it is {_told(tensor)}.")

    def _require_rest(self) -> None:
        """Raises an error unless start, velocity and rest are places and speeds of the vertices."""
        shape = self.mesh.vertices.shape
        self._require_fields(start=(shape,), velocity=((3,), shape), rest=(shape,))
        rest = getattr(self, "rest", None)
        if rest is not None:
            self._require_sound(Mesh(numbers("rest", rest).numpy(), self.mesh.faces, self.mesh.tetrahedra), " at rest")


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
        from ..shell.materials import ShellMaterial  # shells build on solids

        super().__post_init__()
        if not isinstance(self.material, ShellMaterial):
            raise ModelError(
                f"Body {self.name!r}: material is a {type(self.material).__name__}; it must be a ShellMaterial, such as paper()."
            )
        self._require_rest()


@dataclasses.dataclass(frozen=True, eq=False)
class Solid(Body):
    """An elastic solid of tetrahedra.

    Args:
        material: StableNeoHookean, FixedCorotated, LinearElastic, or Hyperelastic with an energy of one's own.
        rest: places of the vertices at rest [V, 3] [m] where they are to have derivatives; by default those of the mesh.
        start: places at the start [V, 3] [m]; by default those of the mesh.
        velocity: at the start, [3] or [V, 3] [m/s].
    """

    material: SolidMaterial = None  # type: ignore[assignment]
    rest: Tensor | None = None
    start: ArrayLike | None = None
    velocity: ArrayLike | None = None

    needs_solid = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.material, SOLID_MATERIALS):
            known = ", ".join(kind.__name__ for kind in SOLID_MATERIALS)
            raise ModelError(f"Body {self.name!r}: material is a {type(self.material).__name__}; it must be one of {known}.")
        self._require_rest()


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
    may_be_loose = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(f"Body {self.name!r}: density", self.density)
        positive(f"Body {self.name!r}: stiffness", self.stiffness, STIFFEST)
        self._require_fields(velocity=((3,),), angular_velocity=((3,),))


@dataclasses.dataclass(frozen=True, eq=False)
class Kinematic(Body):
    """An obstacle that feels no force: it rests, or follows the handle that it is attached to."""

    may_be_loose = True


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
        if not isinstance(self.axes, str) or not self.axes or set(self.axes) - set("xyz"):
            raise ModelError(f"Pin of {self.body!r}: axes is {self.axes!r}; it must be made of x, y and z.")


@dataclasses.dataclass(frozen=True, eq=False)
class Clamp:
    """Boundary edges of a shell whose tangent plane is prescribed; their vertices are held, or not, by pins.

    Args:
        body: name of a shell with mid-edge bending.
        edges: pairs of vertices [n, 2].
        direction: in the tangent plane, out of the shell and not along the edge, [3], [n, 3] or [B, n, 3]; on a plane of symmetry its normal.
            At rest it is `rest_direction`.
        rest_direction: the same in the rest shape, by default equal to `direction`.
    """

    body: str
    edges: ArrayLike
    direction: Tensor | ArrayLike
    rest_direction: Tensor | ArrayLike | None = None

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
            raise ModelError(
                f"Clamp of {self.body!r}: edges must be pairs of vertices [n, 2], integers, not {edges.dtype} {list(edges.shape)}."
            )
        for name in ("direction", "rest_direction"):
            value = getattr(self, name)
            tensor = numbers(f"Clamp of {self.body!r}: {name}", self.direction if value is None else value)
            if not bool(torch.isfinite(tensor).all()) or tensor.shape[-1:] != (3,) or not bool(tensor.any(-1).all()):
                raise ModelError(f"Clamp of {self.body!r}: {name} must be finite vectors [3], not zero; it is {_told(tensor)}.")


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
        if not bool(numbers("Contact: offset", self.offset) >= 0) or math.isinf(self.offset):
            raise ModelError(f"Contact: offset is {self.offset} m; it must be finite and at least 0.")
        if self.stiffness is not None:
            positive("Contact: stiffness", self.stiffness)
        named = self.friction if isinstance(self.friction, Mapping) else {}
        for pair in (*named, *self.ignored):
            if isinstance(pair, str) or len(pair) != 2:
                raise ModelError(f"Contact: {pair!r} must be a pair of names of bodies.")
        for value in (self.default_friction, *(named.values() if isinstance(self.friction, Mapping) else [self.friction])):
            tensor = numbers("Contact: friction", value)
            if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
                raise ModelError(f"Contact: a coefficient of friction is {_told(tensor)}; it must be finite and at least 0.")


def positive(what: str, value: Parameter, most: float = math.inf) -> None:
    """Raises ModelError unless a number, or all of a tensor, is finite, above zero and below `most`."""
    tensor = numbers(what, value)
    if not bool((torch.isfinite(tensor) & (tensor > 0) & (tensor < most)).all()):
        bound = "" if math.isinf(most) else f" and below {most:g}"
        raise ModelError(f"{what} is {_told(tensor)}; it must be finite and positive{bound}.")


def _told(tensor: Tensor) -> str:
    """A tensor as an error shows it."""
    return f"{tensor.tolist()}" if tensor.numel() <= 6 else f"of shape {list(tensor.shape)}"


def _few(ids: np.ndarray) -> str:
    shown = ["-".join(map(str, np.atleast_1d(entry))) for entry in ids[:5]]
    return ", ".join(shown) + (", ..." if len(ids) > 5 else "")
