"""pliant/Forming-v0: bring a bent strip into a given shape."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from ...sim.mesh_shapes import bent_strip
from ...sim.solid import SolidState
from .strip import StripSettings, StripTask


@dataclasses.dataclass(frozen=True)
class FormingSettings(StripSettings):
    """Settings of Forming."""

    release: int = 0
    width: float = 0.04
    target_bend: float = 0.005
    """Radius of the bend of the shape that is wanted; at least the least that a finger can press, three thicknesses."""
    target_forward: float = 0.006
    """By how much the bend of that shape lies further along x than the strip's at rest."""


class Forming(StripTask):
    """A finger is to bring a bent strip into another shape: flatter, and with its bend further along.

    With vertices x_v and their places x*_v on the target, a strip of the same length bent over on a radius of `target_bend`:

        cost(s) = sqrt(mean_v |x_v - x*_v|^2 + e^2) - e  [m],    e = 0.1 mm

    ThinShellLab's Forming sums the squared distances from a saved target that is not in its repository. The loss is the mean cost over the
    last quarter of the steps.
    """

    presets = {
        "small": FormingSettings(),
        "full": FormingSettings(cell=0.005, tip_vertices=16),
    }
    reward_scale = 100.0

    def build(self) -> None:
        """Also makes the target.

        Raises:
            ModelError: if no strip of this length and thickness could have the shape that is wanted.
        """
        own = self.settings
        super().build()
        least = 3 * self.offset
        leg = (own.length - np.pi * own.target_bend) / 2 + own.target_forward
        if not least <= own.target_bend or not 0 < leg < own.length - np.pi * own.target_bend:
            raise ModelError(
                f"No strip of {own.length} m has a bend of radius {own.target_bend} m that lies {own.target_forward} m further: the radius must be "
                f"at least {least:.2g} m, and a leg must remain on both sides of it."
            )
        columns, rows = self.columns, len(self.along) // (self.columns + 1) - 1
        # A longer or shorter strip has its bend where this one is to have it; its vertices are those at the same lengths along it.
        along = self.along
        turn = np.clip((along - leg) / own.target_bend, 0.0, np.pi)
        x = np.minimum(along, leg) + own.target_bend * np.sin(turn) - np.maximum(along - leg - np.pi * own.target_bend, 0.0)
        y = bent_strip(own.length, own.width, columns, rows, own.bend).vertices[:, 1]
        ground = float(self._start.position[0, :, 2][: len(along)].min())
        self.target = torch.tensor(np.column_stack([x, y, ground + own.target_bend * (1 - np.cos(turn))]), dtype=self.dtype)

    def initial_actions(self) -> Tensor:
        """The finger goes down onto the strip in the first third: above it nothing has a slope."""
        own = self.settings
        actions = torch.zeros(self.horizon, 6, dtype=self.dtype, device=self.device)
        pressing = max(1, self.horizon // 3)
        actions[:pressing, 2] = -min(1.0, (2 * own.bend - 2 * own.target_bend + 0.003) / (pressing * own.dt * own.max_speed))
        return actions

    def cost(self, state: SolidState) -> Tensor:
        """How far the strip is from the target, `[B]` [m]."""
        corner = 1e-4
        square = (self.vertices(state, "sheet") - self.target).square().sum(2).mean(1)
        return torch.sqrt(square + corner**2) - corner

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """The root mean square distance of the vertices from their places [m]."""
        return {"distance": (self.vertices(state, "sheet") - self.target).square().sum(2).mean(1).sqrt()}
