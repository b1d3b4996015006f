"""pliant/Bouncing-v0: with which bending stiffness does a folded sheet that falls on a table jump highest?"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ModelError
from ...sim.mesh import Mesh, load_mesh
from ...sim.mesh_shapes import patch
from ...sim.solid import Kinematic, Shell, SolidModel, SolidState
from .design_task import DesignSettings, DesignTask
from .shell_task import Scene, table
from .stiffness import bending_stiffness, with_material

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class BouncingSettings(DesignSettings):
    """Settings of Bouncing."""

    dt: float = 0.002
    script_steps: int = 30
    integrator: str = "bdf2"
    table_friction: float = 0.05
    cell: float = 0.01
    side: float = 0.06
    """Of the square sheet before it is folded."""
    fold: float = 1.7
    """Angle of the two creases at rest [rad], which part the sheet in thirds; below pi / 2 the legs spread."""
    drop: float = 0.003
    """Height of its feet over the table at the start."""
    fall_speed: float = 0.5
    """With which it falls at the start [m/s]."""
    modulus_low: float = 1e8
    """Young's modulus, the least;"""
    modulus_high: float = 1e10
    """and the most [Pa]."""


class Bouncing(DesignTask):
    """A sheet that is folded like a table falls on its feet; it is to jump as high as can be.

    With the mean height z of the vertices on the two creases, at the end of the motion and at the start:

        cost(s) = z(start) - z  [m]

    The stiffness is chosen by Young's modulus (see `with_material`); the sheet is elastic, and its creases are its shape at rest. ThinShellLab's
    goal is the sum of z over the same two rows; its bending stiffness is that of hinges, and its sheets are 500 times as heavy.
    """

    presets = {
        "small": BouncingSettings(),
        "full": BouncingSettings(cell=0.004),
    }
    design = ("modulus",)

    def scene(self) -> Scene:
        """The sheet in the air, and the table."""
        own = self.settings
        if not 0 < own.fold < 2.5:
            raise ModelError(f"fold is {own.fold} rad; it must be above 0 and below 2.5, or the legs meet.")
        columns, rows = 3 * max(2, round(own.side / own.cell / 3)), max(2, round(own.side / own.cell))
        folded = load_mesh(own.sheet_mesh) if own.sheet_mesh else table_of_a_sheet(own.side, own.fold, columns, rows)
        raised = folded.vertices + np.array([0.0, 0.0, own.drop + self.lift() - folded.vertices[:, 2].min()])
        # A sheet of the user's is judged by all of its vertices.
        along = np.repeat(np.arange(columns + 1), rows + 1)
        crease = (along == columns // 3) | (along == 2 * columns // 3)
        self._crease = torch.from_numpy(np.ones(len(raised), bool) if own.sheet_mesh else crease)
        elastic = dataclasses.replace(self.sheet_material, yield_curvature=math.inf)
        return Scene([Shell(Mesh(raised, folded.faces), "sheet", material=elastic), Kinematic(table(0.2, 0.2), "table")], [])

    def designed(self, model: SolidModel, properties: dict[str, Any]) -> SolidModel:
        """The stiffness of the sheet."""
        return with_material(model, {"youngs_modulus": properties["modulus"]})

    def script(self, t: Tensor, state: SolidState) -> Tensor:
        """Nothing moves by itself."""
        return torch.zeros(len(t), 0, 6, dtype=self.dtype)

    def initial_state(self, batch: int, seed: int) -> SolidState:
        """The sheet falls."""
        state = super().initial_state(batch, seed)
        velocity = state.velocity.clone()
        velocity[:, self.solver.model.nodes("sheet"), 2] -= self.settings.fall_speed
        return state.replace(velocity=velocity)

    def height(self, state: SolidState) -> Tensor:
        """Of the creases over the table, `[B]` [m]."""
        return self.vertices(state, "sheet")[:, self._crease, 2].mean(1)

    def cost(self, state: SolidState) -> Tensor:
        """By how much the creases are lower than at the start, `[B]` [m]; negative where they are higher."""
        return self.height(self._start) - self.height(state)

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """Young's modulus [Pa], bending stiffness [N m], and by how much the creases are higher than at the start [m]."""
        found = super().metrics(state)
        material: Any = self.sheet_material
        stiffness = bending_stiffness(found["modulus"], material.thickness, material.poisson_ratio)
        return found | {"bending_stiffness": stiffness, "rise": -self.cost(state)}

    def camera(self) -> Camera:
        """From the front and a little above."""
        from ...sim.render import Camera

        return Camera((0.03, -0.15, 0.05), (0.0, 0.0, 0.014), field_of_view=36)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """With which speed it falls, and the friction of the table."""
        own = self.settings
        return {
            "fall_speed": own.fall_speed * float(generator.uniform(0.8, 1.2)),
            "table_friction": own.table_friction * float(generator.uniform(0.7, 1.4)),
        }


def table_of_a_sheet(side: float, fold: float, columns: int, rows: int) -> Mesh:
    """A square sheet whose outer thirds along x are folded down by `fold` [rad], about the middle of x and y, its top in the plane z = 0.

    Args:
        side: of the square [m].
        fold: angle of the creases [rad].
        columns: cells along x, a multiple of three.
        rows: cells along y.
    """

    def place(s: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        u = side * (s - 0.5)
        beyond = np.maximum(abs(u) - side / 6, 0.0)
        x = np.sign(u) * (np.minimum(abs(u), side / 6) + beyond * math.cos(fold))
        return np.column_stack([x, side * (t - 0.5), -beyond * math.sin(fold)])

    return patch(columns, rows, place)
