"""From drawings to pictures: packs a batch into arrays and runs the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ShapeError
from .scene import Camera, Drawing, within

if TYPE_CHECKING:
    from torch import Tensor

SKY = ((0.95, 0.97, 0.99), (0.80, 0.85, 0.90))
"""Colours at the top and at the bottom of the background."""
FLOOR = (0.90, 0.91, 0.92)
CREASE = math.cos(math.radians(40.0))
SHADOW_SAMPLES = 1024
MOST_SAMPLES = 2**22
"""Samples that are worked on at once; a larger batch is cut, which changes no bit of it."""
MOST_ENTRIES = 2**24
"""Entries that the lists of all tiles may hold before the tiles are made larger."""
LARGEST = 8192


@dataclass(frozen=True)
class Picture:
    """What a camera sees of B drawings."""

    rgb: np.ndarray
    """uint8 [B, H, W, 3]."""
    depth: np.ndarray
    """f32 [B, H, W]: distance along the camera's axis [m], infinite where there is nothing."""
    normal: np.ndarray
    """f32 [B, H, W, 3]: unit normals in world axes, turned to the viewer; zero where there is nothing."""


def render(
    drawings: Sequence[Drawing],
    camera: Camera,
    width: int = 320,
    height: int = 240,
    background: Any = None,
    *,
    antialias: bool = True,
    shadows: bool = True,
    device: str | None = None,
) -> Picture:
    """Draws a batch of scenes, each alone, with the same bits every time and whatever the batch.

    A surface of colour c has the display colour c * sqrt(L), L = 0.6 max(n . k, 0) s + 0.4 (0.625 + 0.375 n . u), with its normal n, the
    direction k to a lamp up left behind the camera, the part s of the lamp that is in no shadow, and the camera's `up` direction u.
    In a 2D scene k and u point at the viewer, so that flat meshes keep their colour.

    Args:
        drawings: the scenes; those in 2D want `Camera.planar`.
        camera: for all of them.
        width: of the picture [pixels].
        height: of the picture [pixels].
        background: one colour [3], or those of top and bottom [2, 3], from 0 to 1.
        antialias: takes 2 x 2 samples a pixel; depth and normal are those of the nearest.
        shadows: whether opaque things cast shadows (never in 2D).
        device: `cpu` or `cuda`; None is where Taichi already runs, else the CPU.

    Raises:
        ShapeError: if there is no drawing, or a size or colour is wrong.
        DeviceError: if Taichi cannot run on the device.
    """
    for name, size in (("width", width), ("height", height)):
        if not isinstance(size, int) or not 1 <= size <= LARGEST:
            raise ShapeError(f"{name} is {size!r}; it must be a whole number from 1 to {LARGEST}.")
    if not drawings or not all(isinstance(drawing, Drawing) for drawing in drawings):
        raise ShapeError("render needs a sequence of at least one Drawing.")
    colors = np.broadcast_to(within("background", SKY if background is None else background, (3,), (2, 3)), (2, 3))

    from ..runtime import start, started

    device = device or ("cuda" if started() == "cuda" else "cpu")
    start(device)
    samples = 2 if antialias else 1
    part = max(1, MOST_SAMPLES // (width * height * samples**2))
    parts = [_draw(drawings[k : k + part], camera, width, height, colors, samples, shadows, device) for k in range(0, len(drawings), part)]
    return Picture(*(np.concatenate([part[k] for part in parts]) for k in range(3)))


def _draw(
    drawings: Sequence[Drawing], camera: Camera, width: int, height: int, colors: np.ndarray, samples: int, shadows: bool, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import torch

    from .shading import FLAT, PLAIN, SHADOWED, shade

    items = _Items(drawings, device)
    batch, many, high = len(drawings), width * samples, height * samples
    view = torch.from_numpy(camera.view(many, high)).to(device)
    depth_bits, nearest = items.rasterise(view, items.plane, batch * (2 if items.translucent else 1), many, high)

    lamp = 0.75 * np.divide(camera.up, np.linalg.norm(camera.up)) - 0.45 * camera.right - 0.55 * camera.forward
    lamp /= np.linalg.norm(lamp)
    mode = np.array([FLAT if drawing.flat else SHADOWED if shadows else PLAIN for drawing in drawings], dtype=np.int32)
    shaded = bool((mode == SHADOWED).any())
    size = SHADOW_SAMPLES if shaded else 4
    seat = tuple(np.add(camera.target, 4.0 * camera.reach * lamp))
    light = Camera(seat, camera.target, tuple(camera.right), extent=(2.0 * camera.reach, 2.0 * camera.reach))
    light_view = torch.from_numpy(light.view(size, size)).to(device)
    opaque = torch.where(items.plane < batch, items.plane, -1) if shaded else torch.full_like(items.plane, -1)
    light_bits, _ = items.rasterise(light_view, opaque, batch, size, size)

    scene = np.zeros((7, 3), dtype=np.float32)
    scene[0], scene[1], scene[2] = lamp, np.divide(camera.up, np.linalg.norm(camera.up)), camera.target
    scene[3:5], scene[5], scene[6] = colors**2, np.square(FLOOR), 3.0 * camera.reach
    ground = np.array([-np.inf if drawing.ground is None else drawing.ground for drawing in drawings], dtype=np.float32)
    ground = np.maximum(ground, np.float32(-2e30))
    rgb = torch.empty((batch, height, width, 3), dtype=torch.uint8, device=device)
    depth = torch.empty((batch, height, width), dtype=torch.int32, device=device)
    normal = torch.empty((batch, height, width, 3), dtype=torch.float32, device=device)
    shade(
        items.spheres,
        items.sphere_colors,
        items.sphere_count,
        items.triangles,
        items.normals,
        items.colors,
        items.alpha,
        torch.from_numpy(ground).to(device),
        view,
        torch.from_numpy(scene).to(device),
        depth_bits,
        nearest,
        light_view,
        light_bits,
        torch.from_numpy(mode).to(device),
        samples,
        rgb,
        depth,
        normal,
    )
    return rgb.cpu().numpy(), depth.cpu().numpy().view(np.float32), normal.cpu().numpy()


class _Items:
    """The spheres and triangles of a batch in one numbering; never empty, since kernels take no empty array.

    `plane` says which picture an item belongs to: the drawing's number, plus B if it is translucent, or -1 for none.
    """

    def __init__(self, drawings: Sequence[Drawing], device: str) -> None:
        import torch

        batch = len(drawings)
        meshes = [(b, mesh) for b, drawing in enumerate(drawings) for mesh in drawing.meshes if len(mesh.faces)]
        offsets = np.cumsum([0, *(len(mesh.vertices) for _, mesh in meshes)])
        nothing = np.zeros((1, 3), dtype=np.float32)
        vertices = np.concatenate([mesh.vertices for _, mesh in meshes] or [nothing])
        tints = np.concatenate([mesh.color for _, mesh in meshes] or [nothing]) ** 2
        faces = np.concatenate([mesh.faces + offset for (_, mesh), offset in zip(meshes, offsets)] or [np.zeros((1, 3), dtype=np.int64)])
        counts = [len(mesh.faces) for _, mesh in meshes]
        self.translucent = any(mesh.alpha < 1.0 for _, mesh in meshes)
        self.sphere_count = sum(len(drawing.points) for drawing in drawings)
        spheres = np.ones((max(self.sphere_count, 1), 4), dtype=np.float32)
        sphere_colors = np.ones((max(self.sphere_count, 1), 3), dtype=np.float32)
        if self.sphere_count:
            spheres[:, :3] = np.concatenate([drawing.points for drawing in drawings])
            spheres[:, 3] = np.concatenate([drawing.radius for drawing in drawings])
            sphere_colors[:] = np.concatenate([drawing.point_colors for drawing in drawings]) ** 2
        of_points = np.repeat(np.arange(batch), [len(drawing.points) for drawing in drawings])
        of_faces = np.repeat([b + batch * (mesh.alpha < 1.0) for b, mesh in meshes], counts) if meshes else np.array([-1])
        alpha = np.repeat([mesh.alpha for _, mesh in meshes], counts) if meshes else np.ones(1)
        crease = np.repeat([CREASE if mesh.smooth else 2.0 for _, mesh in meshes], counts) if meshes else np.ones(1)

        def tensor(array: np.ndarray, dtype: type = np.float32) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype)).to(device)

        self.plane = tensor(np.concatenate([of_points, of_faces]), np.int32)
        self.spheres, self.sphere_colors = tensor(spheres), tensor(sphere_colors)
        self.triangles, self.colors, self.alpha = tensor(vertices[faces]), tensor(tints[faces]), tensor(alpha)
        self.normals = torch.empty_like(self.triangles)
        corner = faces.reshape(-1)
        first = np.concatenate([[0], np.cumsum(np.bincount(corner, minlength=len(vertices)))])

        from .kernels import corner_normals

        around = np.argsort(corner, kind="stable")
        corner_normals(
            self.triangles, tensor(corner, np.int32), tensor(first, np.int32), tensor(around, np.int32), tensor(crease), self.normals
        )

    def rasterise(self, view: Tensor, plane: Tensor, planes: int, width: int, height: int) -> tuple[Tensor, Tensor]:
        """Depth (bits of f32) and item number of each sample of each plane, both i32 [planes, height, width]."""
        import torch

        from .kernels import bound, rasterise

        box = torch.empty((len(plane), 4), dtype=torch.int32, device=view.device)
        bound(self.spheres, self.triangles, self.sphere_count, view, width, height, box)
        tile, columns, lines, start, listing = _sorted(box, plane, planes, width, height)
        depth_bits = torch.empty((planes, height, width), dtype=torch.int32, device=view.device)
        nearest = torch.empty_like(depth_bits)
        rasterise(self.spheres, self.triangles, self.sphere_count, view, box, start, listing, tile, columns, lines, depth_bits, nearest)
        return depth_bits, nearest


def _sorted(box: Tensor, plane: Tensor, planes: int, width: int, height: int) -> tuple[int, int, int, Tensor, Tensor]:
    """Size of a tile, tiles across and down, where the list of each tile starts, and the lists."""
    import torch

    from .kernels import count_items, count_tiles, list_items, pair

    count = torch.empty(len(box), dtype=torch.int32, device=box.device)
    tile = 16
    count_tiles(box, plane, tile, count)
    while (entries := int(count.sum())) > MOST_ENTRIES and tile < max(width, height):
        tile *= 2
        count_tiles(box, plane, tile, count)
    columns, lines = -(-width // tile), -(-height // tile)
    start = torch.zeros(planes * columns * lines + 1, dtype=torch.int32, device=box.device)
    listing = torch.empty(max(entries, 1), dtype=torch.int32, device=box.device)
    if entries:
        owner, key = torch.empty_like(listing), torch.empty_like(listing)
        pair(box, plane, tile, columns, lines, torch.cumsum(count, 0, dtype=torch.int32), owner, key)
        count_items(key, start[1:])
        start[1:] = torch.cumsum(start[1:], 0)
        list_items(key, owner, start[:-1].clone(), listing)
    return tile, columns, lines, start, listing
