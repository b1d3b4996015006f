"""Mesh files as plain arrays: every format that meshio and trimesh read, with limits on size and on reading time."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import MeshError
from ..storage import write_whole
from .mesh_topology import Floats, Ints, boundary_faces, split_into_tetrahedra, without_vertices

MAX_FILE_BYTES = 512 * 2**20
MAX_ELEMENTS = 2_000_000
READ_SECONDS = 20.0
"""A reader that has not returned after this time, plus 5 s for each MB, is broken off."""

_TRIMESH_ONLY = {".ply", ".off"}  # meshio's readers know fewer variants of these, and never return from a file that ends early
_UNSHARED = {".stl", ".glb", ".gltf", ".dae", ".3mf", ".3dxml", ".xaml"}  # a vertex is stored once a face, or once a texture seam
_SURFACE_WRITERS = {".obj", ".off", ".ply", ".stl", ".glb", ".gltf"}
_PREFERRED = {".msh": "gmsh"}

Result = TypeVar("Result")


def read_elements(path: Path) -> tuple[Floats, Ints, Ints]:
    """Vertices `[V, 3]`, faces `[F, 3]` and tetrahedra `[T, 4]` of a mesh file, in the file's own units.

    Quads and polygons are cut into triangles, hexahedra, wedges and pyramids into tetrahedra; of elements of higher order the corners
    are kept. Where there are tetrahedra the faces are their boundary. Points that no element uses are dropped.

    Raises:
        MeshError: if the file is missing, empty, over the limits, of an unknown format, damaged, or without faces.
    """
    size = _size(path)
    vertices, faces, tetrahedra = _first_that_reads(path, READ_SECONDS + 5.0 * size / 2**20)
    if max(len(vertices), len(faces), len(tetrahedra)) > MAX_ELEMENTS:
        sizes = f"{len(vertices)} vertices, {len(faces)} faces and {len(tetrahedra)} tetrahedra"
        raise MeshError(f"{path} has {sizes}; at most {MAX_ELEMENTS} of each are read. Coarsen it.")
    for kind, elements in (("face", faces), ("tetrahedron", tetrahedra)):
        wrong = without_vertices(elements, len(vertices))
        if len(wrong):
            raise MeshError(f"{path}: {len(wrong)} of {len(elements)} elements name vertices that the file lacks, first {kind} {wrong[0]}.")
    if len(tetrahedra):
        faces = boundary_faces(vertices, tetrahedra)
    if not len(faces):
        raise MeshError(f"{path} holds no faces: {len(vertices)} points only. Export a surface or a tetrahedral mesh.")
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    used[tetrahedra] = True
    if not used.all():
        new = np.cumsum(used) - 1
        vertices, faces, tetrahedra = vertices[used], new[faces], new[tetrahedra]
    return vertices, faces, tetrahedra


def merge_coincident(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """The same faces on vertices of which no two have exactly the same position, in order of their first use."""
    _, first, inverse = np.unique(vertices + 0.0, axis=0, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return vertices[np.sort(first)], rank[inverse.ravel()][faces]


def write_elements(path: Path, vertices: Floats, faces: Ints, tetrahedra: Ints) -> None:
    """Writes the tetrahedra, or else the faces, in the format that the suffix of `path` names; nothing is left behind if it fails.

    Raises:
        MeshError: if the format is unknown or cannot be written here.
        FileFormatError: if the folder cannot be written.
    """
    import meshio
    import trimesh

    suffix = path.suffix.lower()
    volume = len(tetrahedra) and suffix not in _SURFACE_WRITERS
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        try:
            with _quiet():
                if suffix in meshio.extension_to_filetypes:
                    kind = _PREFERRED.get(suffix, meshio.extension_to_filetypes[suffix][0])
                    cells = [("tetra", tetrahedra)] if volume else [("triangle", faces)]
                    meshio.write(temporary, meshio.Mesh(vertices, cells), file_format=kind)
                else:
                    trimesh.Trimesh(vertices, faces, process=False).export(temporary)
        except (Exception, SystemExit) as error:
            raise MeshError(f"Cannot write {path} as {suffix or 'a file without suffix'}: {_reason(error)}") from error
        for part in sorted(Path(folder).iterdir()):  # some formats are two files
            content = part.read_bytes()
            write_whole(path.with_name(part.name), lambda file, content=content: file.write(content))


def _size(path: Path) -> int:
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError as error:
        raise MeshError(f"There is no mesh file {path}.") from error
    except (OSError, ValueError) as error:
        raise MeshError(f"Cannot read mesh file {str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error
    if size == 0:
        raise MeshError(f"Mesh file {path} is empty.")
    if size > MAX_FILE_BYTES:
        limit = f"at most {MAX_FILE_BYTES / 2**20:.0f} MB are read"
        raise MeshError(f"{path} is {size / 2**20:.0f} MB; {limit}. Coarsen it, or use a binary format.")
    return size


def _first_that_reads(path: Path, seconds: float) -> tuple[Floats, Ints, Ints]:
    """The elements from the first reader that takes the file; if none does, what the first of them said."""
    readers = _readers(path)
    if not readers:
        raise MeshError(f"{path}: no mesh format has the suffix {path.suffix!r}; try .obj, .stl, .ply, .off, .glb, .msh or .vtk.")
    failures = []
    for name, reader in readers:
        try:
            with _quiet():
                return _within(seconds, reader)
        except (Exception, SystemExit) as error:
            failures.append(f"Cannot read {path} as {name}: {_reason(error)} Is it whole, and is the suffix right?")
    raise MeshError(failures[0])


def _readers(path: Path) -> list[tuple[str, Callable[[], tuple[Floats, Ints, Ints]]]]:
    import meshio
    from trimesh.exchange.load import mesh_loaders

    endings = ["".join(path.suffixes[k:]).lower() for k in range(len(path.suffixes))]
    endings = [ending for ending in endings if ending not in _TRIMESH_ONLY]
    kinds = [kind for ending in endings for kind in meshio.extension_to_filetypes.get(ending, [])]
    suffix = path.suffix.lower()
    kinds.sort(key=lambda kind: kind != _PREFERRED.get(suffix))
    readers: list[tuple[str, Callable[[], tuple[Floats, Ints, Ints]]]] = [(kind, partial(_by_meshio, path, kind)) for kind in kinds]
    if suffix in (".obj", ".stl") or (not kinds and suffix[1:] in mesh_loaders):  # for other formats trimesh calls meshio in its turn
        readers.append((suffix[1:], partial(_by_trimesh, path)))
    return readers


def _by_meshio(path: Path, kind: str) -> tuple[Floats, Ints, Ints]:
    import meshio

    mesh = meshio.read(path, file_format=kind)
    points = np.array(mesh.points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 2:
        raise MeshError("it holds no points.")
    vertices = np.zeros((len(points), 3))
    vertices[:, : min(points.shape[1], 3)] = points[:, :3]
    triangles, tetrahedra, foreign = [np.empty((0, 3), np.int64)], [np.empty((0, 4), np.int64)], set()
    for block in mesh.cells:
        shape = re.sub(r"\d+$", "", block.type)
        if shape in ("vertex", "line"):
            continue
        cells = np.array(block.data, dtype=np.int64)
        if shape in ("triangle", "quad", "polygon"):
            corners = {"triangle": 3, "quad": 4, "polygon": cells.shape[1]}[shape]
            triangles += [cells[:, [0, k - 1, k]] for k in range(2, corners)]
        elif shape in ("tetra", "hexahedron", "wedge", "pyramid"):
            tetrahedra.append(split_into_tetrahedra(shape, cells))
        else:
            foreign.add(block.type)
    if foreign:
        raise MeshError(f"it holds cells of type {', '.join(sorted(foreign))}.")
    faces = np.concatenate(triangles)
    if (faces < 0).any():
        raise MeshError("it counts vertices from the end.")
    if path.suffix.lower() in _UNSHARED:
        vertices, faces = merge_coincident(vertices, faces)
    return vertices, faces, np.concatenate(tetrahedra)


def _by_trimesh(path: Path) -> tuple[Floats, Ints, Ints]:
    import trimesh

    mesh = trimesh.load_scene(path, process=False).to_mesh()
    vertices, faces = np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64)
    if path.suffix.lower() in _UNSHARED:
        vertices, faces = merge_coincident(vertices, faces)
    return vertices.reshape(-1, 3), faces.reshape(-1, 3), np.empty((0, 4), dtype=np.int64)


def _within(seconds: float, function: Callable[[], Result]) -> Result:
    """`function()`, broken off after `seconds`: some readers never return from a file that ends early."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        if thread.is_alive():  # too late, or interrupted by the user: end the endless loop
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
            thread.join(1.0)
    if results:
        return results[0]
    if errors and not isinstance(errors[0], TimeoutError):
        raise errors[0]
    raise TimeoutError(f"the reader found no end in {seconds:.0f} s.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the readers print and warn about away from the terminal; their errors say it too."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in ("h5py", "netCDF4", "lxml", "collada"):
        return f"install the package {error.name}."
    if isinstance(error, SystemExit) or not str(error).strip():
        return "the file does not have this format."
    line = " ".join(str(error).split())
    return (line if len(line) <= 160 else line[:157] + "...").rstrip(".") + "."
