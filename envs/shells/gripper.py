"""Grippers: one or two soft fingertips on a frame that moves in six degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import MeshError, ModelError
from ...sim.mesh import Mesh
from ...sim.rotation import rotation_matrix
from ...sim.solid import Handle, Solid, StableNeoHookean

Vector = tuple[float, float, float]

DOWN, UP = (0.0, 0.0, -1.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Gripper:
    """One fingertip, or two that face each other and pinch what is between them.

    Args:
        name: its fingertips are the bodies `name.0` and `name.1`.
        position: where its frame starts, about which it turns [m].
        fingers: where the pole of each fingertip points, unit vectors; one or two.
        gap: from the position to each pole at the start [m].
        close: by how much each finger then moves along its direction, before the task begins [m].
    """

    name: str
    position: Vector
    fingers: Sequence[Vector] = (DOWN,)
    gap: float = 0.0
    close: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.fingers) <= 2:
            raise ModelError(f"Gripper {self.name!r} has {len(self.fingers)} fingers; it must have one or two.")

    def names(self) -> list[str]:
        """Of its fingertips, and of their handles."""
        return [f"{self.name}.{k}" for k in range(len(self.fingers))]

    def bodies(self, tip: Mesh, material: StableNeoHookean) -> list[Solid]:
        """The fingertips. `tip` has its pole down and the origin in the middle of its rim [m]."""
        places = [self._placed(tip, direction) for direction in self.fingers]
        return [
            Solid(Mesh(place, tip.faces, tip.tetrahedra), name, material=material) for name, place in zip(self.names(), places, strict=True)
        ]

    def handles(self, tip: Mesh) -> list[Handle]:
        """A handle for each fingertip, which holds its rim and turns about the position of the gripper."""
        return [Handle(name, self.position, {name: rim(tip)}) for name in self.names()]

    def _placed(self, tip: Mesh, direction: Vector) -> np.ndarray:
        axis = np.array(direction) / np.linalg.norm(direction)
        height = -float(tip.vertices[:, 2].min())
        return tip.vertices @ _turn_down_to(axis).T + np.array(self.position) - axis * (self.gap + height)


def rim(tip: Mesh) -> np.ndarray:
    """The vertices of a fingertip's flat top, by which it is held.

    Raises:
        MeshError: if there are not three, so that nothing would hold it.
    """
    z = tip.vertices[:, 2]
    held = np.flatnonzero(z > z.max() - 1e-6 * (z.max() - z.min()))
    if len(held) < 3:
        raise MeshError("A fingertip must end in a flat top (largest z) of at least three vertices, by which the gripper holds it.")
    return held


def motion(grippers: Sequence[Gripper], position: Tensor, rotation: Tensor, velocity: Tensor, closing: Tensor) -> tuple[Tensor, Tensor]:
    """Velocities of all handles, linear and angular [B, H, 3].

    The fingers of a gripper move as one rigid body about the middle of their handles, and towards each other.

    Args:
        grippers: G of them, of H fingers in all.
        position: of the handles [B, H, 3] [m].
        rotation: of the handles, quaternions [B, H, 4].
        velocity: of each gripper, linear [m/s] and angular [rad/s], [B, G, 6].
        closing: speed of each finger along its direction [B, G] [m/s].
    """
    linear, angular, first = [], [], 0
    turn = rotation_matrix(rotation)
    for g, gripper in enumerate(grippers):
        fingers = slice(first, first + len(gripper.fingers))
        first = fingers.stop
        place = position[:, fingers]
        arm = place - place.mean(1, keepdim=True)
        axis = (turn[:, fingers] @ torch.tensor(gripper.fingers, dtype=place.dtype, device=place.device)[..., None])[..., 0]
        spin = velocity[:, g, None, 3:].expand_as(place)
        linear.append(velocity[:, g, None, :3] + torch.linalg.cross(spin, arm) + closing[:, g, None, None] * axis)
        angular.append(spin)
    return torch.cat(linear, 1), torch.cat(angular, 1)


def _turn_down_to(axis: np.ndarray) -> np.ndarray:
    """The rotation that brings (0, 0, -1) to the unit vector `axis` on the shortest way."""
    start = np.array(DOWN)
    cosine = float(start @ axis)
    if cosine < -1 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    v = np.cross(start, axis)
    skew = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)
