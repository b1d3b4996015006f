"""pliant/FoldingU-v0 and pliant/FoldingL-v0: press a crease into a bent strip, on one side of its middle or on the other."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ...sim.solid import SolidState
from .strip import StripSettings, StripTask


class FoldingTask(StripTask):
    """A crease on one side of the middle of the strip.

    With the angles A and B by which the strip is bent for good within a window of length w on the wanted side of the middle, and on the
    other side, and the angles T_A and T_B by which it turns there in all:

        cost(s) = pi / 2 - (A - B) - (T_A - T_B) / 100  [rad],    w = a tenth of the length

    ThinShellLab's reward is the difference of the plastic angles of two rows of edges beside the middle; windows of a length in metres mean
    the same on any mesh, and the last term (as in its pick-folding) has a slope where nothing yields yet. The loss is the mean cost over the
    last quarter of the steps, in which the finger has let go.
    """

    presets = {
        "small": StripSettings(),
        "full": StripSettings(cell=0.005, tip_vertices=16, horizon=80),
    }
    side: ClassVar[float]

    def cost(self, state: SolidState) -> Tensor:
        """What is missing of a right angle between the creases of the two windows, `[B]` [rad]."""
        middle, window = 0.5 * self.settings.length, 0.1 * self.settings.length
        before, behind = (middle - window, middle), (middle, middle + window)
        creases = self.crease(state, *behind) - self.crease(state, *before)
        turns = self.bend(state, *behind) - self.bend(state, *before)
        return 0.5 * math.pi - self.side * (creases + 0.01 * turns)

    def initial_actions(self) -> Tensor:
        """The finger goes down onto the strip, in half of the time that it has: above it nothing has a slope."""
        own = self.settings
        actions = torch.zeros(self.horizon, 6, dtype=self.dtype, device=self.device)
        pressing = max(1, (self.horizon - own.release) // 2)
        actions[:pressing, 2] = -min(1.0, (2 * own.bend - 0.0025) / (pressing * own.dt * own.max_speed))
        return actions

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """The crease on each side of the middle and the angle of the whole fold [degrees]."""
        middle, window = 0.5 * self.settings.length, 0.1 * self.settings.length
        degrees = 180 / math.pi
        return {
            "crease_before_middle": degrees * self.crease(state, middle - window, middle),
            "crease_behind_middle": degrees * self.crease(state, middle, middle + window),
            "fold": degrees * self.fold(state),
        }


class FoldingU(FoldingTask):
    """The crease is to lie behind the middle, so that the upper leg is the shorter one; the formula is that of FoldingTask."""

    side = 1.0


class FoldingL(FoldingTask):
    """The crease is to lie before the middle, so that the upper leg is the longer one; the formula is that of FoldingTask."""

    side = -1.0
