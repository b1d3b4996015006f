"""Triangle and tetrahedral meshes: read, written, scaled and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..errors import MeshError
from .mesh_files import read_elements, write_elements
from .mesh_topology import Floats, Ints, edge_balance, face_normals, inverted_faces, tetrahedron_volumes, without_vertices

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 1e-3, "um": 1e-6, "km": 1e3, "in": 0.0254, "ft": 0.3048}
"""Metres in one unit of a mesh file."""

FAR = 1e30
"""A coordinate beyond this [m] counts as not finite: volumes would overflow."""

FLAT = 1e-10
"""A face is degenerate if its area is below this times its longest edge squared; a tetrahedron if its volume is, with the edge cubed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles, with the tetrahedra that it bounds if there are any.

    Args:
        vertices: positions [m], float64 `[V, 3]`.
        faces: vertex ids, int64 `[F, 3]`, counter-clockwise seen from outside.
        tetrahedra: vertex ids, int64 `[T, 4]`; of positive volume if the last vertex lies where the normal of the first three points.

    Raises:
        MeshError: if an array has the wrong shape or names a vertex that does not exist.
    """

    vertices: Floats
    faces: Ints
    tetrahedra: Ints = dataclasses.field(default_factory=lambda: np.empty((0, 4), dtype=np.int64))

    def __post_init__(self) -> None:
        for name, dtype, width in (("vertices", np.float64, 3), ("faces", np.int64, 3), ("tetrahedra", np.int64, 4)):
            object.__setattr__(self, name, _table(name, getattr(self, name), dtype, width))
        for name, elements in (("faces", self.faces), ("tetrahedra", self.tetrahedra)):
            wrong = without_vertices(elements, len(self.vertices))
            if len(wrong):
                raise MeshError(f"{_listed(len(wrong), name, wrong)} name vertices outside 0..{len(self.vertices) - 1}.")

    @cached_property
    def volume(self) -> float:
        """The signed volume that the faces enclose [m^3]; it means something for a closed mesh only."""
        corner = self.vertices[self.faces] - self._middle()
        return float(np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6.0)

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """The lowest and the highest coordinates of the vertices [m], `[3]` each.

        Raises:
            MeshError: if there are no vertices.
        """
        if not len(self.vertices):
            raise MeshError("A mesh without vertices has no bounds.")
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def transformed(self, matrix: ArrayLike) -> Mesh:
        """The mesh under an affine matrix `[4, 4]`; one that mirrors also turns the winding, so that normals still point outwards.

        Raises:
            MeshError: if the matrix is not finite, not affine, or flattens space.
        """
        affine = np.asarray(matrix, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], [0.0, 0.0, 0.0, 1.0]):
            raise MeshError("A transform must be a finite [4, 4] matrix with the last row 0 0 0 1.")
        linear = affine[:3, :3]
        singular = np.linalg.svd(linear, compute_uv=False)
        if singular[2] <= 1e-12 * singular[0]:
            raise MeshError("The transform flattens the mesh: its 3 x 3 part is singular.")
        mirrors = np.linalg.det(linear) < 0
        faces, tetrahedra = (self.faces[:, ::-1], self.tetrahedra[:, [0, 1, 3, 2]]) if mirrors else (self.faces, self.tetrahedra)
        return Mesh(self.vertices @ linear.T + affine[:3, 3], faces, tetrahedra)

    def scaled(self, scale: float | Sequence[float]) -> Mesh:
        """The mesh scaled about the origin, by one factor or by one for each axis; negative ones mirror.

        Raises:
            MeshError: if a factor is zero or not finite.
        """
        return self.transformed(np.diag([*_scale(scale), 1.0]))

    def _middle(self) -> Floats:
        return 0.5 * np.add(*self.bounds) if len(self.vertices) else np.zeros(3)


def load_mesh(path: str | Path, *, scale: float | Sequence[float] = 1.0, units: str = "m", transform: ArrayLike | None = None) -> Mesh:
    """Reads a mesh file of any format that meshio or trimesh reads.

    A vertex p of the file becomes `transform @ (scale * unit * p)` [m]. Faces are as in the file; quads, polygons, hexahedra, wedges and
    pyramids are split. A volume mesh gets its boundary as faces, wound outwards. Points that no element uses are dropped. Formats
    that cannot share vertices between faces (STL, glTF) have exactly coincident ones merged. Nothing else is repaired: see `check_mesh`.

    Args:
        path: the file; its suffix names the format.
        scale: one factor, or one for each axis; negative ones mirror.
        units: what one unit of the file is: m, dm, cm, mm, um, km, in, ft.
        transform: affine matrix `[4, 4]`, translation in metres.

    Raises:
        MeshError: if the file is missing, empty, too large, damaged or of unknown format, has no faces or a vertex that is not finite,
            or if scale, units or transform make no sense.
    """
    if units not in UNITS:
        raise MeshError(f"Unknown units {units!r}; use one of {', '.join(UNITS)}.")
    factors = _scale(scale)
    mesh = Mesh(*read_elements(Path(path))).scaled([UNITS[units] * factor for factor in factors])
    if transform is not None:
        mesh = mesh.transformed(transform)
    broken = np.flatnonzero(~_finite(mesh.vertices))
    if len(broken):
        raise MeshError(f"{path}: {_listed(len(broken), 'vertices', broken)} not finite, or over {FAR:.0e} m away.")
    return mesh


def save_mesh(mesh: Mesh, path: str | Path) -> None:
    """Writes a mesh in the format of the path's suffix: the tetrahedra where there are any and the format takes them, else the faces.

    Raises:
        MeshError: if the format is unknown.
        FileFormatError: if the folder cannot be written; what was there before is kept.
    """
    write_elements(Path(path), mesh.vertices, mesh.faces, mesh.tetrahedra)


@dataclasses.dataclass(frozen=True, eq=False)
class MeshReport:
    """What is wrong with a mesh. All are ids of elements `[n]`, or pairs of vertex ids `[n, 2]` for edges; empty where nothing is.

    Args:
        face_count: number of faces.
        volume: signed volume [m^3].
        extent: largest side of the bounding box [m].
        open_edges: edges of one face.
        nonmanifold_edges: edges of more than two faces.
        duplicated_vertices: vertices at exactly the position of one with a lower id.
        duplicated_faces: faces on the same three vertices as one with a lower id.
        degenerate_faces: faces with a repeated vertex or (nearly) no area.
        inverted_faces: faces wound against their neighbours, or whole pieces with their inside out.
        inverted_tetrahedra: tetrahedra of negative or (nearly) no volume.
        nonfinite_vertices: vertices with a coordinate that is NaN, infinite or beyond 1e30 m.
        balanced: whether every edge is passed as often forwards as backwards.
    """

    face_count: int
    volume: float
    extent: float
    open_edges: Ints
    nonmanifold_edges: Ints
    duplicated_vertices: Ints
    duplicated_faces: Ints
    degenerate_faces: Ints
    inverted_faces: Ints
    inverted_tetrahedra: Ints
    nonfinite_vertices: Ints
    balanced: bool

    @property
    def closed(self) -> bool:
        """Whether the faces are the whole boundary of a solid and their normals point out of it.

        Pieces may touch at an edge; duplicated vertices and degenerate faces do no harm by themselves.
        """
        whole = self.balanced and not len(self.nonfinite_vertices) and not len(self.inverted_faces)
        return self.face_count > 0 and whole and self.volume > FLAT * self.extent**3

    def problems(self) -> list[str]:
        """One line for each kind of problem, with its count and the first ids."""
        kinds = [field.name for field in dataclasses.fields(self) if field.name not in ("face_count", "volume", "extent", "balanced")]
        found = [(kind.replace("nonfinite", "non-finite").replace("_", " "), getattr(self, kind)) for kind in kinds]
        lines = [_listed(len(ids), kind, ids) for kind, ids in found if len(ids)]
        if self.face_count == 0:
            lines.append("no faces")
        elif not lines and not self.closed:
            lines.append(f"it encloses no volume ({self.volume:.3g} m^3)")
        return lines


def check_mesh(mesh: Mesh) -> MeshReport:
    """Looks for open, nonmanifold, duplicated, degenerate, inverted and non-finite elements."""
    finite = _finite(mesh.vertices)
    vertices = np.where(finite[:, None], mesh.vertices, 0.0)
    repeated: np.ndarray = np.any(mesh.faces == np.roll(mesh.faces, 1, axis=1), axis=1)
    proper = np.flatnonzero(~repeated)
    edges, count, balance = edge_balance(mesh.faces[proper])
    corner = vertices[mesh.faces]
    longest = ((corner - np.roll(corner, 1, axis=1)) ** 2).sum(axis=-1).max(axis=1, initial=0.0)
    flat = np.linalg.norm(face_normals(vertices, mesh.faces), axis=1) <= 2.0 * FLAT * longest
    corner = vertices[mesh.tetrahedra]
    edge = np.linalg.norm(corner - corner[:, :1], axis=-1).max(axis=1, initial=0.0)
    return MeshReport(
        face_count=len(mesh.faces),
        volume=Mesh(vertices, mesh.faces).volume,
        extent=float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0,
        open_edges=edges[count == 1],
        nonmanifold_edges=edges[count > 2],
        duplicated_vertices=_later(vertices[finite] + 0.0, np.flatnonzero(finite)),
        duplicated_faces=_later(np.sort(mesh.faces[proper], axis=1), proper),
        degenerate_faces=np.flatnonzero(repeated | flat),
        inverted_faces=proper[inverted_faces(vertices, mesh.faces[proper])],
        inverted_tetrahedra=np.flatnonzero(tetrahedron_volumes(vertices, mesh.tetrahedra) <= FLAT * edge**3),
        nonfinite_vertices=np.flatnonzero(~finite),
        balanced=not balance.any(),
    )


def require_closed(mesh: Mesh, what: str) -> None:
    """Passes a mesh that encloses a solid.

    Raises:
        MeshError: naming `what`, and the counts and first ids of its faults.
    """
    report = check_mesh(mesh)
    if report.closed:
        return
    harmless = () if len(report.open_edges) else ("duplicated vertices", "degenerate faces")
    faults = [line for line in report.problems() if not any(kind in line for kind in harmless)] or report.problems()
    advice = "Close the holes, turn the inverted faces, and drop what is double."
    raise MeshError(f"{what} does not enclose a solid: {'; '.join(faults)}.\n{advice}")


def _table(name: str, values: ArrayLike, dtype: type, width: int) -> np.ndarray:
    try:
        array = np.asarray(values)
        exact = array.size == 0 or dtype is np.float64 or np.issubdtype(array.dtype, np.integer)
        table: np.ndarray = np.array(array, dtype=dtype, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise MeshError(f"Mesh.{name} must be numbers of shape [n, {width}]: {error}.") from error
    if table.size == 0:
        table = table.reshape(0, width)
    if table.ndim != 2 or table.shape[1] != width or not exact:
        kind = "numbers" if dtype is np.float64 else "integers"
        raise MeshError(f"Mesh.{name} must be {kind} of shape [n, {width}], not {array.dtype} {list(array.shape)}.")
    table.flags.writeable = False
    return table


def _scale(scale: float | Sequence[float]) -> list[float]:
    try:
        factors = np.broadcast_to(np.asarray(scale, dtype=np.float64), 3)
    except (TypeError, ValueError) as error:
        raise MeshError(f"Scale {scale!r} must be one number, or three.") from error
    if not np.isfinite(factors).all() or (factors == 0).any():
        raise MeshError(f"Scale {scale!r} must be finite and not zero.")
    return [float(factor) for factor in factors]


def _finite(vertices: Floats) -> np.ndarray:
    return np.all(np.abs(vertices) <= FAR, axis=1)


def _later(rows: np.ndarray, ids: Ints) -> Ints:
    """Those of `ids` whose row equals that of an earlier id."""
    return np.delete(ids, np.unique(rows, axis=0, return_index=True)[1]) if len(rows) else ids


def _listed(count: int, kind: str, ids: np.ndarray) -> str:
    """For example `12 open edges (3-8, 8-9, ...)`."""
    if count == 1:
        singular = {"vertices": "vertex", "tetrahedra": "tetrahedron", "faces": "face", "edges": "edge"}
        kind = " ".join(singular.get(word, word) for word in kind.split())
    shown = ["-".join(str(part) for part in np.atleast_1d(entry)) for entry in ids[:5]]
    return f"{count} {kind} ({', '.join(shown)}{', ...' if count > 5 else ''})"
