"""What is drawn, and from where: plain numpy data, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...errors import ModelError, ShapeError

CLAY = (0.36, 0.60, 0.86)
"""The colour of points that have none."""
HUGE = 1e15
"""Numbers beyond this count as infinite: their squares would not fit the kernels' f32."""


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from: a perspective camera, or an orthographic one if `extent` is given.

    Args:
        eye: position [m].
        target: the point in the middle of the picture [m].
        up: what points up in the picture and towards the sky.
        field_of_view: vertical opening of a perspective camera [degrees].
        extent: width and height [m] that an orthographic picture holds at least.

    Raises:
        ShapeError: if a vector has not three finite numbers.
        ModelError: if they define no view.
    """

    eye: Sequence[float]
    target: Sequence[float]
    up: Sequence[float] = (0.0, 0.0, 1.0)
    field_of_view: float = 40.0
    extent: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("eye", "target", "up"):
            object.__setattr__(self, name, tuple(numbers(f"Camera.{name}", getattr(self, name), (3,)).tolist()))
        if not 0.0 < self.field_of_view < 180.0:
            raise ModelError(f"Camera.field_of_view is {self.field_of_view}; it must lie between 0 and 180 degrees.")
        if self.extent is not None:
            object.__setattr__(self, "extent", tuple(numbers("Camera.extent", self.extent, (2,)).tolist()))
            if min(self.extent) <= 0.0:
                raise ModelError(f"Camera.extent is {self.extent}; width and height must be positive.")
        if self.distance == 0.0:
            raise ModelError("Camera.eye and Camera.target are the same point; move one of them.")
        if np.linalg.norm(np.cross(self.forward, self.up)) < 1e-6 * np.linalg.norm(self.up) or not any(self.up):
            raise ModelError("Camera.up points along the view; choose another direction.")

    @classmethod
    def orthographic(
        cls, eye: Sequence[float], target: Sequence[float], up: Sequence[float] = (0.0, 0.0, 1.0), *, extent: tuple[float, float]
    ) -> Camera:
        """A camera with parallel rays, which start at the plane through `eye`; `extent` is the width and height [m] in view."""
        return cls(eye, target, up, extent=extent)

    @classmethod
    def planar(cls, lower: Sequence[float], upper: Sequence[float], margin: float = 0.04) -> Camera:
        """The view of a 2D scene, y up, that holds the rectangle from `lower` to `upper` [m] and a margin (part of its size)."""
        low, high = numbers("lower", lower, (2,)), numbers("upper", upper, (2,))
        if (high <= low).any():
            raise ModelError(f"The rectangle from {tuple(lower)} to {tuple(upper)} is empty; upper must exceed lower.")
        size, middle = (high - low) * (1.0 + 2.0 * margin), 0.5 * (low + high)
        width, height = float(size[0]), float(size[1])
        return cls((*middle, 2.0 * max(width, height)), (*middle, 0.0), (0.0, 1.0, 0.0), extent=(width, height))

    @property
    def distance(self) -> float:
        """From eye to target [m]."""
        return math.dist(self.eye, self.target)

    @property
    def forward(self) -> np.ndarray:
        """Unit vector from the eye to the target."""
        return (np.subtract(self.target, self.eye)) / self.distance

    @property
    def right(self) -> np.ndarray:
        """Unit vector to the right of the picture."""
        across = np.cross(self.forward, self.up)
        return across / np.linalg.norm(across)

    @property
    def reach(self) -> float:
        """Half the size of what is in view around the target [m]."""
        if self.extent is not None:
            return 0.5 * math.hypot(*self.extent)
        return 2.2 * self.distance * math.tan(math.radians(0.5 * self.field_of_view))

    def view(self, width: int, height: int) -> np.ndarray:
        """The array [18] that the kernels take for a picture of that many samples."""
        if self.extent is None:
            scale, near = 0.5 * height / math.tan(math.radians(0.5 * self.field_of_view)), 1e-3 * self.distance
        else:
            scale, near = min(width / self.extent[0], height / self.extent[1]), 0.0
        parallel = float(self.extent is not None)
        axes = (*self.right, *np.cross(self.right, self.forward), *self.forward)
        return np.array((*self.eye, *axes, scale, scale, 0.5 * width, 0.5 * height, parallel, near), dtype=np.float32)


class Surface(NamedTuple):
    """A triangle mesh in a drawing; both sides are seen.

    A face whose corners turn counter-clockwise is seen from outside. Where faces meet at less than 40 degrees they are shaded
    as one smooth surface. Of several translucent faces over a pixel the nearest is drawn; they cast no shadow.
    """

    vertices: Any
    """[V, 3], or [V, 2] in a 2D scene [m]."""
    faces: Any
    """[F, 3] integers."""
    color: Any
    """[3], or one a vertex [V, 3], from 0 to 1."""
    alpha: float = 1.0
    """1 is opaque, less is translucent."""
    smooth: bool = True
    """False shades every face flat."""


@dataclass(frozen=True)
class Drawing:
    """One scene to be drawn: spheres, triangle meshes and a ground.

    Args:
        points: centres of spheres [N, 3], or [N, 2] in a 2D scene [m].
        point_colors: [N, 3] or [3], from 0 to 1.
        radius: of the spheres, one or [N] [m]. None is drawn smaller than a pixel.
        meshes: `Surface`s, or tuples (vertices, faces, color) with alpha and smooth if wanted.
        ground: height z of an endless floor [m]; None is without.
        flat: set by the drawing: whether it came with two coordinates; such a scene has no shadows.

    Raises:
        ShapeError: for a wrong shape or type, a number that is not finite (nothing is dropped silently: leave such points out), a
            colour or alpha outside 0..1, a radius that is not positive, or a face that names a vertex that is not there.
    """

    points: Any = ()
    point_colors: Any = CLAY
    radius: Any = 0.01
    meshes: Sequence[Any] = ()
    ground: float | None = None
    flat: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        points = embedded("Drawing.points", np.zeros((0, 3)) if np.shape(self.points) == (0,) else self.points)
        for k, mesh in enumerate(self.meshes):
            if not 3 <= len(mesh) <= 5:
                raise ShapeError(f"Drawing.meshes[{k}] must be a Surface, or (vertices, faces, color) with alpha and smooth if wanted.")
        meshes = tuple(checked(Surface(*mesh), f"Drawing.meshes[{k}]") for k, mesh in enumerate(self.meshes))
        radius = numbers("Drawing.radius", self.radius, (), (len(points),))
        if (radius <= 0.0).any():
            raise ShapeError("Drawing.radius must be positive [m].")
        if self.ground is not None:
            numbers("Drawing.ground", self.ground, ())
        colors = within("Drawing.point_colors", self.point_colors, (3,), (len(points), 3))
        object.__setattr__(self, "flat", any(np.shape(part)[1:] == (2,) for part in (self.points, *(mesh[0] for mesh in self.meshes))))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "point_colors", np.broadcast_to(colors, (len(points), 3)))
        object.__setattr__(self, "radius", np.broadcast_to(radius, (len(points),)))
        object.__setattr__(self, "meshes", meshes)


def checked(mesh: Surface, name: str) -> Surface:
    """The mesh as arrays of f32 and i64, its colour one a vertex."""
    vertices = embedded(f"{name}.vertices", mesh.vertices)
    faces = np.asarray(mesh.faces)
    if faces.size == 0:
        faces = np.zeros((0, 3), dtype=np.int64)
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise ShapeError(f"{name}.faces must be integers [F, 3]; it has shape {list(faces.shape)} and type {faces.dtype}.")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ShapeError(f"{name}.faces names vertex {faces.max() if faces.min() >= 0 else faces.min()}; there are {len(vertices)}.")
    colors = within(f"{name}.color", mesh.color, (3,), (len(vertices), 3))
    alpha = float(within(f"{name}.alpha", mesh.alpha, ()))
    return Surface(vertices, faces.astype(np.int64), np.broadcast_to(colors, (len(vertices), 3)), alpha, bool(mesh.smooth))


def numbers(name: str, value: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """Finite f64 numbers of one of those shapes."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} must be an array of numbers.") from error
    if array.shape not in shapes:
        raise ShapeError(f"{name} must have shape {' or '.join(str(list(shape)) for shape in shapes)}, not {list(array.shape)}.")
    bad = ~(np.abs(array) < HUGE)
    if bad.any():
        rows = bad.reshape(len(array), -1).any(axis=1) if array.ndim else bad
        raise ShapeError(f"{name}: {rows.sum()} of {rows.size} rows are not finite (first: {np.argmax(rows)}). Leave them out.")
    return array


def within(name: str, value: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """Numbers from 0 to 1."""
    array = numbers(name, value, *shapes)
    if array.size and (array.min() < 0.0 or array.max() > 1.0):
        raise ShapeError(f"{name} must lie between 0 and 1; it reaches from {array.min():g} to {array.max():g}.")
    return array


def embedded(name: str, value: Any) -> np.ndarray:
    """Points [N, 3] f32; those of a plane get z = 0."""
    count = len(value) if np.ndim(value) else 0
    places = numbers(name, value, (count, 3), (count, 2))
    if places.shape[1] == 2:
        places = np.concatenate([places, np.zeros((count, 1))], axis=1)
    return places.astype(np.float32)
