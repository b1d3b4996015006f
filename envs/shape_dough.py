"""pliant/ShapeDough-v0: press and roll a block of dough into the shape of a mesh."""

from __future__ import annotations

import dataclasses
import math
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..sim.materials import Elastoplastic
from ..sim.mesh import Mesh, load_mesh
from ..sim.mpm import Body, Effector, MpmModel, MpmState
from ..sim.sdf import Box, Cylinder, GridSdf, Moved, fill
from .mpm_task import MpmSettings, MpmTask

if TYPE_CHECKING:
    from ..sim.render import Camera, Drawing


@dataclasses.dataclass(frozen=True)
class ShapeDoughSettings(MpmSettings):
    """Settings of ShapeDough. Lengths in metres."""

    horizon: int = 40
    dt: float = 0.02
    target: str = ""
    """Closed mesh of the wanted shape, any format that meshio or trimesh read; by default the loaf that ships with pliant."""
    target_scale: float = 1.0
    """Its coordinates times this are metres."""
    block: tuple[float, float, float] = (0.09, 0.07, 0.06)
    """Edges of the dough at the start."""
    density: float = 1200.0
    youngs_modulus: float = 2e4
    poisson_ratio: float = 0.35
    yield_stress: float = 1000.0
    hardening: float = 0.0
    friction: float = 0.3
    """Of the roller and of the table."""
    roller: float = 0.025
    """Radius of the roller."""
    probes: int = 400
    """Points of the target that want to be covered, about so many."""


class ShapeDough(MpmTask):
    """A block of elastoplastic dough lies on a table under a roller that moves in six degrees of freedom.

    The target stands on the table, centred on the block. With its signed distance phi, particles p, points t within it on a lattice, and the
    dough's lattice spacing h, all in metres:

        cost(s) = mean_p max(phi(x_p), 0) + mean_t max(min_p |t - x_p| - h, 0)

    how far dough stands out of the target, and how far the target is from being filled. It is zero for a perfect shape.
    The loss is the mean cost over the last quarter of the steps, the reward of a step 1000 (cost before - cost after).
    """

    presets = {
        "small": ShapeDoughSettings(),
        "full": ShapeDoughSettings(horizon=150, cell=0.005, probes=2000),
    }
    body_colors = ((0.93, 0.80, 0.58),)
    tool_colors = ((0.62, 0.45, 0.32),)
    reward_scale = 1000.0
    iterations = 40

    def scene(self) -> MpmModel:
        """The block in the middle of the table, the roller just above it."""
        own = self.settings
        size = (0.26, 0.16, 0.16)
        middle = (size[0] / 2, size[1] / 2)
        self._target(middle, size)
        block = Moved(Box(tuple(edge / 2 for edge in own.block)), (*middle, own.block[2] / 2))
        dough = Elastoplastic(own.density, own.youngs_modulus, own.poisson_ratio, own.yield_stress, own.hardening)
        body = Body.seeded(block, dough, own.cell)
        along_y = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
        shape = Moved(Cylinder(own.roller, 0.06), (0.0, 0.0, 0.0), along_y)
        start = (*middle, own.block[2] + own.roller + own.cell / 4)
        roller = Effector(shape, start, friction=own.friction, softness=own.cell)
        return MpmModel((body,), (0.0, 0.0, 0.0), size, own.cell, own.dt, walls="coulomb", wall_friction=own.friction, effectors=(roller,),
                        dtype=self.dtype, device=self.device)  # fmt: skip

    def _target(self, middle: tuple[float, float], size: tuple[float, float, float]) -> None:
        """Reads the target, stands it on the table, and takes its signed distance and the points that want to be covered."""
        own = self.settings
        mesh = _mesh(own.target, own.target_scale)
        low, high = (np.asarray(bound) for bound in mesh.bounds)
        if np.any(high - low > np.array(size) - 4 * own.cell):
            raise ModelError(
                f"The target measures {np.round(high - low, 4).tolist()} m; it must fit into {size} m less two cells a side. Use target_scale."
            )
        shift = np.eye(4)
        shift[:3, 3] = [middle[0] - (low[0] + high[0]) / 2, middle[1] - (low[1] + high[1]) / 2, -low[2]]
        self.target = mesh.transformed(shift)
        grid = GridSdf.from_mesh(self.target, own.cell / 2, 2 * own.cell)
        self._distance = grid.to(self.dtype, self.device)
        spacing = (mesh.volume / own.probes) ** (1 / 3)
        self._probes = fill(grid, spacing).to(self.dtype).to(self.device)

    def cost(self, state: MpmState) -> Tensor:
        """Dough outside the target plus target without dough, `[B]` [m]."""
        x = state.position
        outside = self._distance.value(x).clamp(min=0).mean(1)
        nearest = torch.cdist(self._probes.expand(len(x), -1, -1), x, compute_mode="donot_use_mm_for_euclid_dist").min(2).values
        return outside + (nearest - self.settings.cell / 2).clamp(min=0).mean(1)

    def metrics(self, state: MpmState) -> dict[str, Tensor]:
        """Share of the dough within the target, and of the target that is covered."""
        inside = self._distance.value(state.position) <= 0
        nearest = torch.cdist(self._probes.expand(state.batch, -1, -1), state.position).min(2).values
        return {"dough_inside": inside.double().mean(1), "target_covered": (nearest <= self.settings.cell / 2).double().mean(1)}

    def draw(self, state: MpmState, env: int) -> Drawing:
        """Dough, roller, and the target as a translucent shell."""
        from ..sim.render import Surface

        drawing = super().draw(state, env)
        shell = Surface(self.target.vertices, self.target.faces, (0.35, 0.65, 0.45), 0.25)
        return dataclasses.replace(drawing, meshes=(*drawing.meshes, shell))

    def camera(self) -> Camera:
        """From the front and above."""
        from ..sim.render import Camera

        return Camera((0.22, -0.28, 0.24), (0.13, 0.08, 0.03), field_of_view=34)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """Stiffness, yield stress and friction within half and double."""
        own = self.settings
        return {name: getattr(own, name) * float(2 ** generator.uniform(-1, 1)) for name in ("youngs_modulus", "yield_stress", "friction")}


def _mesh(path: str, scale: float) -> Mesh:
    if path:
        return load_mesh(Path(path), scale=scale)
    with as_file(files("pliant.assets") / "loaf.obj") as own:
        return load_mesh(own, scale=scale)
