"""Signed distance on a regular grid, sampled from another one or from a closed mesh."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ..errors import ModelError, ShapeError
from .isosurface import level_set
from .mesh import Mesh, require_closed
from .mesh_distance import closest_points, inside_grid
from .mesh_topology import Floats
from .sdf_base import Sdf, double, finite, like, numbers

MAX_NODES = 2**26
"""The most nodes of a grid: 2 GB of values and gradients in float64."""
_CHUNK = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class GridSdf(Sdf):
    """Values and gradients at the nodes of a grid, both interpolated linearly along each axis; D = 2 or 3.

    Beyond the grid the value is that at the nearest point of the grid's box plus the distance to it.

    Args:
        lower: position of the first node [m] `[D]`.
        spacing: of the nodes along each axis [m] `[D]`.
        values: signed distance at the nodes [m] `[n1, .., nD]`, at least 2 along each axis.
        gradients: its gradient there `[n1, .., nD, D]`.
        mesh: the surface that the values were computed from, if there is one.

    Raises:
        ShapeError: if shapes, dtypes or devices do not fit together.
        ModelError: if the spacing is not positive or a number is not finite.
    """

    lower: Tensor
    spacing: Tensor
    values: Tensor
    gradients: Tensor
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        size = tuple(self.values.shape)
        if len(size) not in (2, 3) or min(size) < 2 or not self.values.is_floating_point():
            raise ShapeError(f"GridSdf.values must be a float tensor of 2 or 3 axes with 2 nodes or more each, not {list(size)}.")
        for name, shape in (("lower", (len(size),)), ("spacing", (len(size),)), ("gradients", (*size, len(size)))):
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or tensor.dtype != self.values.dtype or tensor.device != self.values.device:
                wanted = f"{list(shape)}, {self.values.dtype} on {self.values.device}"
                raise ShapeError(f"GridSdf.{name} must be {wanted}, not {list(tensor.shape)}, {tensor.dtype} on {tensor.device}.")
        if not all(bool(tensor.isfinite().all()) for tensor in (self.lower, self.spacing, self.values, self.gradients)):
            raise ModelError("GridSdf has numbers that are not finite.")
        if bool((self.spacing <= 0).any()):
            raise ModelError(f"GridSdf.spacing is {self.spacing.tolist()}; it must be positive.")

    @property
    def dimension(self) -> int:
        """The number of axes of the grid."""
        return self.values.ndim

    @property
    def upper(self) -> Tensor:
        """Position of the last node [m] `[D]`."""
        return self.lower + self.spacing * (torch.tensor(self.values.shape, device=self.values.device) - 1)

    @classmethod
    def sample(cls, sdf: Sdf, spacing: float | Sequence[float], margin: float, dtype: torch.dtype = torch.float64) -> GridSdf:
        """A grid of the values and gradients of another signed distance.

        Args:
            sdf: the body.
            spacing: of the nodes [m], the same for all axes or one for each.
            margin: how far the grid reaches beyond `sdf.bounds()` at least [m].
            dtype: of the result.

        Raises:
            ModelError: if the spacing is not positive, the margin negative, or the grid over 2^26 nodes.
        """
        lower, step, size = _grid(*sdf.bounds(), spacing, margin)
        axes = [torch.from_numpy(axis) for axis in _axes(lower, step, size)]
        rows = max(1, _CHUNK // math.prod(size[1:]))
        values, gradients = [], []
        with torch.no_grad():
            for part in axes[0].split(rows):
                points = torch.cartesian_prod(part, *axes[1:])
                values.append(sdf.value(points))
                gradients.append(sdf.gradient(points))
        mesh = sdf.mesh if isinstance(sdf, GridSdf) else None
        whole = torch.cat(values).view(size), torch.cat(gradients).view(*size, len(size))
        return cls(torch.from_numpy(lower), torch.from_numpy(step), *whole, mesh).to(dtype)

    @classmethod
    def from_mesh(cls, mesh: Mesh, spacing: float | Sequence[float], margin: float, dtype: torch.dtype = torch.float64) -> GridSdf:
        """A grid of exact distances to a closed mesh.

        Where pieces overlap, the inside of each counts, and distances there are to the nearest face of any.

        Args:
            mesh: a closed surface with normals that point outwards.
            spacing: of the nodes [m], the same for all axes or one for each; features below it are lost between the nodes.
            margin: how far the grid reaches beyond the mesh at least [m].
            dtype: of the result.

        Raises:
            MeshError: if the mesh is not closed.
            ModelError: if the spacing is not positive, the margin negative, or the grid over 2^26 nodes.
        """
        require_closed(mesh, "The mesh")
        lower, step, size = _grid(torch.from_numpy(mesh.bounds[0]), torch.from_numpy(mesh.bounds[1]), spacing, margin)
        axes = _axes(lower, step, size)
        inside = inside_grid(mesh.vertices, mesh.faces, (axes[0], axes[1], axes[2]))
        return _measured(mesh, lower, step, inside, np.zeros((*size, 3)), mesh).to(dtype)

    def scaled(self, scale: float | Sequence[float]) -> GridSdf:
        """The body scaled about the origin, by one factor or by one for each axis, negative ones mirroring; with true distances again.

        The nodes move with the body. Distances and normals are computed anew, from the mesh where the grid has one, else from the zero
        level set of its values, which is off the true surface by an amount of the order of curvature times spacing squared.

        Raises:
            ModelError: if a factor is zero or not finite, or the grid holds no surface.
        """
        factors = _per_axis("scale", scale, self.dimension)
        if (factors == 0).any():
            raise ModelError(f"scale is {scale}; it must not be zero.")
        flipped = [axis for axis, factor in enumerate(factors) if factor < 0]
        step = double(self.spacing).numpy() * np.abs(factors)
        lower = np.minimum(double(self.lower).numpy() * factors, double(self.upper).numpy() * factors)
        values, gradients = (double(tensor.flip(flipped)).numpy() for tensor in (self.values, self.gradients))
        mesh = self.mesh.scaled(list(factors)) if self.mesh is not None else None
        if np.ptp(np.abs(factors)) == 0:
            even = values * abs(factors[0]), gradients * np.sign(factors)
            result = _from_arrays(lower, step, *even, mesh)
        else:
            normals = gradients / factors  # the inverse transpose of the scaling
            result = _measured(mesh or _surface(values, lower, step), lower, step, values < 0, normals, mesh)
        return result.to(self.values.dtype, self.values.device)

    def surface(self) -> Mesh:
        """The mesh that the values were computed from, or else their zero level set; 3D only.

        Raises:
            ModelError: if the grid is 2D or holds no surface.
        """
        if self.mesh is not None:
            return self.mesh
        if self.dimension != 3:
            raise ModelError("Only a 3D grid has a surface of triangles.")
        return _surface(*(double(tensor).numpy() for tensor in (self.values, self.lower, self.spacing)))

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> GridSdf:
        """The same grid with tensors of another dtype or on another device."""
        lower, spacing, values, gradients = (
            tensor.to(device=device, dtype=dtype) for tensor in (self.lower, self.spacing, self.values, self.gradients)
        )
        return GridSdf(lower, spacing, values, gradients, self.mesh)

    @override
    def value(self, points: Tensor) -> Tensor:
        near = self._clamped(points)
        return self._interpolated(near, self.values.unsqueeze(-1)).squeeze(-1) + torch.linalg.vector_norm(points - near, dim=-1)

    def gradient(self, points: Tensor) -> Tensor:
        """The interpolated gradient `[..., D]`, continuous and close to the unit normal near a smooth surface; differentiable.

        Beyond the grid it points away from the grid's box along the axes on which the point is outside.
        """
        near = self._clamped(points)
        away = points - near
        outside = away / torch.linalg.vector_norm(away, dim=-1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny)
        return torch.where(away == 0, self._interpolated(near, self.gradients), outside)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The corners [m], float64 `[D]` each, of the mesh, or else of the cells with a negative node, or else of the grid."""
        if self.mesh is not None:
            low, high = self.mesh.bounds
            return torch.from_numpy(low), torch.from_numpy(high)
        lower, spacing, last = double(self.lower), double(self.spacing), torch.tensor(self.values.shape) - 1
        negative = (self.values < 0).nonzero().cpu()
        if not len(negative):
            return lower, lower + spacing * last
        first, final = (negative.amin(dim=0) - 1).clamp(min=0), torch.minimum(negative.amax(dim=0) + 1, last)
        return lower + spacing * first, lower + spacing * final

    def _clamped(self, points: Tensor) -> Tensor:
        if self._checked(points).device != self.values.device:
            raise ShapeError(f"The points are on {points.device}, the grid is on {self.values.device}.")
        return torch.maximum(torch.minimum(points, like(self.upper, points)), like(self.lower, points))

    def _interpolated(self, points: Tensor, nodes: Tensor) -> Tensor:
        """`nodes` `[n1, .., nD, C]` at points in the grid's box `[..., D]`, as `[..., C]`."""
        size = torch.tensor(self.values.shape, device=points.device)
        place = (points - like(self.lower, points)) / like(self.spacing, points)
        cell = torch.minimum(place.detach().floor().long().clamp(min=0), size - 2)
        share = place - cell
        stride = torch.tensor([math.prod(self.values.shape[axis + 1 :]) for axis in range(self.dimension)], device=points.device)
        flat = nodes.reshape(-1, nodes.shape[-1])
        total = torch.zeros((), dtype=points.dtype, device=points.device)
        for corner in product((0, 1), repeat=self.dimension):
            offset = torch.tensor(corner, device=points.device)
            weight = torch.where(offset == 1, share, 1.0 - share).prod(dim=-1, keepdim=True)
            total = total + weight * flat[((cell + offset) * stride).sum(dim=-1)].to(points.dtype)
        return total


def _per_axis(name: str, value: float | Sequence[float], dimension: int) -> Floats:
    """One number for each axis, from one for all or one for each."""
    found = numbers(name, value)
    if tuple(found.shape) not in ((), (dimension,)):
        raise ModelError(f"{name} must be one number, or {dimension}, not of shape {list(found.shape)}.")
    return found.expand(dimension).numpy().copy()


def _grid(low: Tensor, high: Tensor, spacing: float | Sequence[float], margin: float) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Position of the first node, spacing and number of nodes of a grid about the middle of a box."""
    step = _per_axis("spacing", spacing, len(low))
    if (step <= 0).any():
        raise ModelError(f"spacing is {spacing}; it must be positive.")
    if finite("margin", margin) < 0:
        raise ModelError(f"margin is {margin}; it must not be negative.")
    count = np.ceil((high - low + 2.0 * margin).numpy() / step - 1e-9) + 1
    if count.prod() > MAX_NODES:
        limit = f"at most {MAX_NODES} are allowed; use a coarser one."
        raise ModelError(f"A spacing of {step.tolist()} m makes a grid of {count.prod():.3g} nodes; {limit}")
    size = tuple(max(2, int(n)) for n in count)
    return 0.5 * (low + high).numpy() - 0.5 * (np.array(size) - 1) * step, step, size


def _axes(lower: Floats, step: Floats, size: tuple[int, ...]) -> list[Floats]:
    return [start + np.arange(count) * width for start, width, count in zip(lower, step, size, strict=True)]


def _measured(surface: Mesh, lower: Floats, step: Floats, inside: np.ndarray, normals: Floats, mesh: Mesh | None) -> GridSdf:
    """A grid of distances to a surface; `normals` `[n1, .., nD, D]` count for nodes on it where it has none itself."""
    dimension = inside.ndim
    nodes = np.zeros((inside.size, 3))
    nodes[:, :dimension] = np.stack(np.meshgrid(*_axes(lower, step, inside.shape), indexing="ij"), axis=-1).reshape(-1, dimension)
    closest = closest_points(surface.vertices, surface.faces, nodes)
    sign = np.where(inside.ravel(), -1.0, 1.0)
    away = (nodes - closest.point) * sign[:, None]
    normal = closest.normal[:, :dimension]
    given = normals.reshape(-1, dimension)
    normal = np.where(normal.any(axis=1, keepdims=True), normal, given)
    on_surface = closest.distance <= 1e-9 * float(np.ptp(surface.vertices, axis=0).max())
    gradient = np.where(on_surface[:, None], normal, away[:, :dimension])
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    gradient = np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 0)
    return _from_arrays(lower, step, (sign * closest.distance).reshape(inside.shape), gradient.reshape(*inside.shape, dimension), mesh)


def _from_arrays(lower: Floats, step: Floats, values: Floats, gradients: Floats, mesh: Mesh | None) -> GridSdf:
    lower_, step_, values_, gradients_ = (torch.from_numpy(np.ascontiguousarray(array)) for array in (lower, step, values, gradients))
    return GridSdf(lower_, step_, values_, gradients_, mesh)


def _surface(values: Floats, lower: Floats, step: Floats) -> Mesh:
    """The zero level set; in 2D its segments, as triangles without width."""
    vertices, simplices = level_set(values, lower, step)
    if not len(simplices):
        raise ModelError("The grid holds no surface: all its values have the same sign. Use a finer spacing.")
    if values.ndim == 2:
        vertices, simplices = np.pad(vertices, ((0, 0), (0, 1))), simplices[:, [0, 1, 1]]
    return Mesh(vertices, simplices)
