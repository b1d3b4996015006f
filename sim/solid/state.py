"""What the implicit solver advances, and what acts on it."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ..core import Control, State


@dataclasses.dataclass(frozen=True)
class SolidState(State):
    """Bodies and handles at an instant; N nodes, E edge rotations, R bending elements and H handles in the order of the model's bodies.

    A rigid body has four nodes, the corners of a frame that moves with it.
    """

    position: Tensor
    """Nodes `[B, N, 3]` [m]."""
    velocity: Tensor
    """Of the nodes `[B, N, 3]` [m/s]."""
    edge_rotation: Tensor
    """By how much the mid-edge normals of shells turn out of the mean of their faces' `[B, E]` [rad]."""
    plastic_bend: Tensor
    """What plastic flow added to the rest bend of every bending element `[B, R, 3]` [rad m], or [rad] in the first entry for hinges."""
    plastic_curvature: Tensor
    """How much plastic curvature every bending element has gathered `[B, R]` [1/m]."""
    handle_position: Tensor
    """`[B, H, 3]` [m]."""
    handle_rotation: Tensor
    """Unit quaternions (w, x, y, z) `[B, H, 4]`."""
    previous_position: Tensor
    """Of the nodes a step ago `[B, N, 3]` [m]; what BDF2 needs."""
    previous_velocity: Tensor
    """`[B, N, 3]` [m/s]."""
    contact_stiffness: Tensor
    """Of the contact barrier `[B]` [Pa]; it grows, in steps, where bodies are pressed together too hard for it."""
    age: Tensor
    """Steps since the start, int64 `[B]`; the first one of BDF2 looks at no state before it."""


@dataclasses.dataclass(frozen=True)
class SolidControl(Control):
    """What acts during a step, constant over it."""

    linear_velocity: Tensor
    """Of the handles `[B, H, 3]` [m/s]."""
    angular_velocity: Tensor
    """Of the handles, about their own positions, in world axes `[B, H, 3]` [rad/s]."""
    force: Tensor
    """On the nodes, dead loads `[B, N, 3]` [N]."""
