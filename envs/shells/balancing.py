"""pliant/Balancing-v0 and pliant/Throwing-v0: a ball on a sheet between two grippers is to stay in the middle, or to fly up."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...sim.mesh_shapes import ball, sheet
from ...sim.solid import Kinematic, SolidState
from ..mpm_task import rounded
from .gripper import DOWN, UP, Gripper
from .shell_task import Scene, ShellSettings, ShellTask, centred, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class BallSettings(ShellSettings):
    """Settings of Balancing and Throwing."""

    material: str = "card"
    length: float = 0.06
    """Of the sheet, between the grippers."""
    width: float = 0.03
    """Of the sheet."""
    height: float = 0.03
    """Of the sheet over the table."""
    radius: float = 0.006
    """Of the ball."""
    ball_density: float = 1000.0
    object_mesh: str = ""
    """A file with a closed surface in place of the ball."""
    push: tuple[float, ...] = (0.08, 0.04, 0.0)
    """The ball's velocity at the start [m/s]."""


class BallTask(ShellTask):
    """Two grippers pinch the ends of a sheet on which a ball lies."""

    presets = {
        "small": BallSettings(),
        "full": BallSettings(cell=0.004, tip_vertices=16, ball_density=2000.0),
    }
    settling = 6

    def scene(self) -> Scene:
        """A sheet in the air, pinched at both ends, and the ball upon its middle."""
        own = self.settings
        flat = sheet(own.length, own.width, max(2, round(own.length / own.cell)), max(2, round(own.width / own.cell)))
        bodies = [
            self.sheet(centred(flat, height=own.height)),
            self.object(ball(own.radius, finer=2), own.ball_density, (0.0, 0.0, own.height + self.lift())),
            Kinematic(table(0.2, 0.2), "table"),
        ]
        pinched, gap = own.length / 2 - 0.8 * own.tip_radius, self.lift()
        grippers = [
            Gripper(name, (x, 0.0, own.height), (DOWN, UP), gap=gap, close=gap + 3e-4)
            for name, x in (("left", -pinched), ("right", pinched))
        ]
        return Scene(bodies, grippers)

    def initial_state(self, batch: int, seed: int) -> SolidState:
        """The ball is pushed."""
        state = super().initial_state(batch, seed)
        nodes = self.solver.model.nodes("object")
        velocity = state.velocity.clone()
        velocity[:, nodes] += state.velocity.new_tensor(self.settings.push)
        return state.replace(velocity=velocity)

    def camera(self) -> Camera:
        """From the front and above."""
        from ...sim.render import Camera

        return Camera((0.06, -0.16, 0.10), (0.0, 0.0, self.settings.height), field_of_view=36)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The ball's density, and where it is pushed."""
        own = self.settings
        push = [float(v * generator.uniform(0.5, 1.5)) for v in own.push]
        return {"ball_density": own.ball_density * float(generator.uniform(0.7, 1.4)), "push": tuple(push)}


class Balancing(BallTask):
    """The ball is to stay over the middle of the sheet.

    With the horizontal places of the ball's centre and of the sheet's, b and m:

        cost(s) = |b - m|_r  [m],    |d|_r = sqrt(|d|^2 + e^2) - e,  e = 1 mm

    ThinShellLab sums the squared distances over the ball's vertices and all steps. The loss is the mean cost over all steps.
    """

    tail = 1.0
    reward_scale = 100.0

    def cost(self, state: SolidState) -> Tensor:
        """How far the ball is from the middle of the sheet, seen from above, `[B]` [m]."""
        return rounded((self.middle(state, "object") - self.middle(state, "sheet"))[:, :2].square().sum(1))

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """How far the ball is from the middle of the sheet [m]."""
        apart = (self.middle(state, "object") - self.middle(state, "sheet"))[:, :2]
        return {"distance": apart.square().sum(1).sqrt()}


class Throwing(BallTask):
    """The ball is to fly up, and the ends of the sheet are to come back to where they were.

    With the height z of the ball's centre over that at the start and the heights r_v of the sheet's end vertices over theirs:

        cost(s) = h - z + 10 / m * mean_v r_v^2  [m],    h = 20 mm

    as ThinShellLab's reward, with a mean for its sum. The loss is the mean cost over the last tenth of the steps.
    """

    tail = 0.1
    reward_scale = 100.0

    def cost(self, state: SolidState) -> Tensor:
        """What is missing of the height, `[B]` [m]; negative beyond."""
        rise = (self.middle(state, "object") - self.middle(self._start, "object"))[:, 2]
        now, then = self.vertices(state, "sheet"), self.vertices(self._start, "sheet")
        ends = abs(self.solver.model.bodies[0].mesh.vertices[:, 0]) > 0.49 * self.settings.length
        return 0.02 - rise + 10 * (now - then)[:, ends, 2].square().mean(1)

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """How far the ball has risen [m]."""
        return {"height": (self.middle(state, "object") - self.middle(self._start, "object"))[:, 2]}
