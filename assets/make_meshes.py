"""Makes the meshes of this folder: `python -m pliant.assets.make_meshes` writes the same bytes again.

Coordinates are in metres and rounded to a micrometre, so that they do not depend on the machine's sine and cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent

Surface = tuple[NDArray[np.float64], NDArray[np.int64]]


def lathe(profile: Sequence[tuple[float, float]], segments: int) -> Surface:
    """The surface of revolution about z of a profile of (radius, height) [m] that starts and ends on the axis, counter-clockwise."""
    angle = 2.0 * np.pi * np.arange(segments) / segments
    rings = [np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(segments, z)]) for radius, z in profile[1:-1]]
    vertices = np.concatenate([[[0.0, 0.0, profile[0][1]]], *rings, [[0.0, 0.0, profile[-1][1]]]])
    here = 1 + np.arange(segments)
    there = 1 + (np.arange(segments) + 1) % segments
    faces = [np.column_stack([np.zeros(segments, dtype=np.int64), there, here])]
    for ring in range(len(rings) - 1):
        a, b, c, d = here + ring * segments, there + ring * segments, there + (ring + 1) * segments, here + (ring + 1) * segments
        faces += [np.column_stack([a, b, c]), np.column_stack([a, c, d])]
    top = (len(rings) - 1) * segments
    faces.append(np.column_stack([here + top, there + top, np.full(segments, len(vertices) - 1)]))
    return vertices, np.concatenate(faces)


def glass() -> Surface:
    """A drinking glass: radius 50 mm, height 100 mm, wall and floor 8 mm; the origin is at half the cavity's height."""
    floor, rim = -0.046, 0.046
    profile = [(0.0, floor - 0.008), (0.05, floor - 0.008), (0.05, rim), (0.042, rim), (0.042, floor), (0.0, floor)]
    return lathe(profile, 64)


def roller() -> Surface:
    """A cylinder along y: radius 30 mm, length 200 mm, about its centre."""
    vertices, faces = lathe([(0.0, -0.1), (0.03, -0.1), (0.03, 0.1), (0.0, 0.1)], 64)
    return vertices[:, [1, 2, 0]], faces


def star() -> Surface:
    """A prism over a regular five-pointed star, points 100 mm from the axis z, one of them along y; 60 mm thick, about its centre."""
    outer, inner = 0.1, 0.1 * np.sin(np.pi / 10) / np.sin(3 * np.pi / 10)
    angle = np.pi / 2 + np.pi * np.arange(10) / 5
    radius = np.where(np.arange(10) % 2 == 0, outer, inner)
    outline = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    middle = np.vstack([[0.0, 0.0], outline])
    vertices = np.vstack([np.column_stack([middle, np.full(11, z)]) for z in (-0.03, 0.03)])
    here, there = 1 + np.arange(10), 1 + (np.arange(10) + 1) % 10
    centre = np.zeros(10, dtype=np.int64)
    bottom, top = np.column_stack([centre, there, here]), np.column_stack([centre + 11, here + 11, there + 11])
    sides = np.column_stack([here, there, there + 11]), np.column_stack([here, there + 11, here + 11])
    return vertices, np.concatenate([bottom, top, *sides])


def loaf() -> Surface:
    """A loaf of 140 x 75 mm, 45 mm high, a superellipsoid |x/a|^4 + |y/b|^4 + |z/c|^4 = 1; about its centre."""
    half, count = (0.07, 0.0375, 0.0224), 24
    latitude = np.pi * (np.arange(1, count) / count - 0.5)
    longitude = 2.0 * np.pi * np.arange(2 * count) / (2 * count)
    ring = np.stack(
        np.broadcast_arrays(
            np.cos(latitude)[:, None] * np.cos(longitude), np.cos(latitude)[:, None] * np.sin(longitude), np.sin(latitude)[:, None]
        ),
        -1,
    )
    unit = np.concatenate([[[0.0, 0.0, -1.0]], ring.reshape(-1, 3), [[0.0, 0.0, 1.0]]])
    vertices = unit / (np.abs(unit) ** 4).sum(1, keepdims=True) ** 0.25 * half
    _, faces = lathe([(0.0, -1.0), *[(1.0, float(z)) for z in latitude], (0.0, 1.0)], 2 * count)
    return vertices, faces


MESHES = {"loaf.obj": loaf, "glass.obj": glass, "roller.obj": roller, "star.obj": star}


def obj_text(name: str) -> str:
    """The whole text of one of `MESHES`."""
    vertices, faces = MESHES[name]()
    lines = [f"# {line}" for line in (MESHES[name].__doc__ or "").splitlines()]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in np.round(vertices, 6) + 0.0]
    lines += ["f {} {} {}".format(*face) for face in faces + 1]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes all meshes into this folder."""
    for name in MESHES:
        (FOLDER / name).write_text(obj_text(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
