"""Signed distance of simple bodies and of what they are put together from.

Formulas of the primitives after Quilez, "3D signed distance functions" (https://iquilezles.org/articles/distfunctions).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from ..errors import ModelError
from .sdf_base import LARGEST, Number, Sdf, Vector, double, finite, like, numbers, positive, vector


@dataclasses.dataclass(frozen=True, eq=False)
class Box(Sdf):
    """A box about the origin, a rectangle in 2D.

    Args:
        half_extents: half the side lengths [m] `[D]`.
    """

    half_extents: Vector

    def __post_init__(self) -> None:
        if bool((vector("Box.half_extents", self.half_extents) <= 0).any()):
            raise ModelError(f"Box.half_extents are {double(self.half_extents).tolist()}; they must be positive.")

    @property
    def dimension(self) -> int:
        """The number of half extents."""
        return len(self.half_extents)

    @override
    def value(self, points: Tensor) -> Tensor:
        return _box(self._checked(points).abs() - like(self.half_extents, points))

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        return _symmetric(self.half_extents)


@dataclasses.dataclass(frozen=True, eq=False)
class Sphere(Sdf):
    """A ball about the origin, a disc in 2D.

    Args:
        radius: [m].
        dimension: 2 or 3.
    """

    radius: Number
    dimension: int = 3

    def __post_init__(self) -> None:
        positive("Sphere.radius", self.radius)
        _two_or_three("Sphere", self.dimension)

    @override
    def value(self, points: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self._checked(points), dim=-1) - like(self.radius, points)

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        return _symmetric([float(double(self.radius))] * self.dimension)


@dataclasses.dataclass(frozen=True, eq=False)
class Cylinder(Sdf):
    """A flat-ended cylinder about the z axis.

    Args:
        radius: [m].
        half_height: half its length along z [m].
    """

    radius: Number
    half_height: Number
    dimension: int = dataclasses.field(default=3, init=False)

    def __post_init__(self) -> None:
        positive("Cylinder.radius", self.radius)
        positive("Cylinder.half_height", self.half_height)

    @override
    def value(self, points: Tensor) -> Tensor:
        side = torch.linalg.vector_norm(self._checked(points)[..., :2], dim=-1) - like(self.radius, points)
        return _box(torch.stack([side, points[..., 2].abs() - like(self.half_height, points)], dim=-1))

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        return _symmetric([float(double(self.radius))] * 2 + [float(double(self.half_height))])


@dataclasses.dataclass(frozen=True, eq=False)
class Capsule(Sdf):
    """All points within `radius` of a segment along z (along y in 2D) about the origin.

    Args:
        radius: [m].
        half_length: half the segment's length [m]; the ends are round and come on top of it.
        dimension: 2 or 3.
    """

    radius: Number
    half_length: Number
    dimension: int = 3

    def __post_init__(self) -> None:
        positive("Capsule.radius", self.radius)
        positive("Capsule.half_length", self.half_length)
        _two_or_three("Capsule", self.dimension)

    @override
    def value(self, points: Tensor) -> Tensor:
        along, half = self._checked(points)[..., -1], like(self.half_length, points)
        beyond = along - torch.maximum(torch.minimum(along, half), -half)
        offset = torch.cat([points[..., :-1], beyond[..., None]], dim=-1)
        return torch.linalg.vector_norm(offset, dim=-1) - like(self.radius, points)

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        radius = float(double(self.radius))
        return _symmetric([radius] * (self.dimension - 1) + [float(double(self.half_length)) + radius])


@dataclasses.dataclass(frozen=True, eq=False)
class Plane(Sdf):
    """The half space below a plane: all points p with `normal . p < offset`, the half plane below a line in 2D.

    Args:
        normal: points out of the body, of any length but zero, `[D]`.
        offset: distance of the plane from the origin along the normal [m].
        extent: half the side of the box about the plane's foot point that stands for it in `bounds` [m].
    """

    normal: Vector
    offset: Number = 0.0
    extent: float = 1.0

    def __post_init__(self) -> None:
        length = vector("Plane.normal", self.normal).norm()
        if float(length) < 1 / LARGEST:
            raise ModelError("Plane.normal must not be zero.")
        finite("Plane.offset", self.offset)
        positive("Plane.extent", self.extent)

    @property
    def dimension(self) -> int:
        """The number of components of the normal."""
        return len(self.normal)

    @override
    def value(self, points: Tensor) -> Tensor:
        normal = like(self.normal, self._checked(points))
        return points @ (normal / torch.linalg.vector_norm(normal)) - like(self.offset, points)

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        normal = double(self.normal)
        foot = normal / normal.norm() * float(double(self.offset))
        return foot - self.extent, foot + self.extent


@dataclasses.dataclass(frozen=True, eq=False)
class Union(Sdf):
    """All points of any part. Outside the value is the distance; inside overlapping parts it is at most as deep as the true one.

    Args:
        parts: one or more bodies of the same dimension.
    """

    parts: Sequence[Sdf]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts or len({part.dimension for part in self.parts}) > 1:
            raise ModelError(f"Union wants one or more parts of the same dimension, not {[part.dimension for part in self.parts]}.")

    @property
    def dimension(self) -> int:
        """That of the parts."""
        return self.parts[0].dimension

    @override
    def value(self, points: Tensor) -> Tensor:
        return torch.stack([part.value(points) for part in self.parts]).min(dim=0).values

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        lower, upper = zip(*(part.bounds() for part in self.parts), strict=True)
        return torch.stack(lower).amin(dim=0), torch.stack(upper).amax(dim=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Difference(Sdf):
    """The points of `body` that are not in `hole`. Inside the value is the distance; outside, near a cut edge, at most that.

    Args:
        body: what is cut.
        hole: what is taken away, of the same dimension.
    """

    body: Sdf
    hole: Sdf

    def __post_init__(self) -> None:
        if self.body.dimension != self.hole.dimension:
            raise ModelError(f"Difference wants bodies of the same dimension, not {self.body.dimension} and {self.hole.dimension}.")

    @property
    def dimension(self) -> int:
        """That of both bodies."""
        return self.body.dimension

    @override
    def value(self, points: Tensor) -> Tensor:
        return torch.stack([self.body.value(points), -self.hole.value(points)]).max(dim=0).values

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.body.bounds()


@dataclasses.dataclass(frozen=True, eq=False)
class Moved(Sdf):
    """A body after a rigid motion: a point p of it is now at `rotation @ p + translation`.

    Args:
        sdf: the body in its own frame.
        translation: [m] `[D]`.
        rotation: a rotation matrix `[D, D]`, in 3D also a quaternion (w, x, y, z) of any length but zero, in 2D also an angle [rad];
            None for no rotation.
    """

    sdf: Sdf
    translation: Vector
    rotation: Sequence[float] | Tensor | float | None = None

    def __post_init__(self) -> None:
        if len(vector("Moved.translation", self.translation)) != self.sdf.dimension:
            raise ModelError(f"Moved.translation has {len(self.translation)} components; the body has {self.sdf.dimension}.")
        if self.rotation is None:
            return
        given = numbers("Moved.rotation", self.rotation)
        kinds = [(3, 3), (4,)] if self.dimension == 3 else [(2, 2), ()]
        if tuple(given.shape) not in kinds or (given.shape == (4,) and float(given.norm()) < 1 / LARGEST):
            wanted = "a matrix [3, 3] or a quaternion [4] that is not zero" if self.dimension == 3 else "a matrix [2, 2] or an angle"
            raise ModelError(f"Moved.rotation must be {wanted}, not {given.tolist()}.")
        matrix = self._matrix(given).detach()
        error = (matrix @ matrix.T - torch.eye(self.dimension, dtype=matrix.dtype)).abs().max()
        if float(error) > 1e-5 or float(torch.linalg.det(matrix)) < 0:
            raise ModelError(f"Moved.rotation is no rotation: R R^T misses the identity by {float(error):.1g}, or it mirrors.")

    @property
    def dimension(self) -> int:
        """That of the body."""
        return self.sdf.dimension

    @override
    def value(self, points: Tensor) -> Tensor:
        return self.sdf.value((self._checked(points) - like(self.translation, points)) @ self._matrix(points))

    @override
    def bounds(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.sdf.bounds()
        matrix = self._matrix(lower).detach()
        centre = matrix @ (0.5 * (lower + upper)) + double(self.translation)
        half = matrix.abs() @ (0.5 * (upper - lower))
        return centre - half, centre + half

    def _matrix(self, target: Tensor) -> Tensor:
        if self.rotation is None:
            return torch.eye(self.dimension, dtype=target.dtype, device=target.device)
        given = like(self.rotation, target)
        if given.ndim == 0:
            c, s = given.cos(), given.sin()
            return torch.stack([c, -s, s, c]).view(2, 2)
        if given.ndim == 2:
            return given
        w, x, y, z = given / torch.linalg.vector_norm(given)
        rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
        rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
        rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
        return torch.stack(rows).view(3, 3)


def _box(over: Tensor) -> Tensor:
    """Signed distance of a box from how far a point is over each pair of faces, negative between them."""
    return torch.linalg.vector_norm(over.clamp(min=0), dim=-1) + over.max(dim=-1).values.clamp(max=0)


def _symmetric(half: Vector) -> tuple[Tensor, Tensor]:
    upper = double(half)
    return -upper, upper


def _two_or_three(name: str, dimension: int) -> None:
    if dimension not in (2, 3):
        raise ModelError(f"{name} exists in 2 or 3 dimensions, not {dimension}.")
