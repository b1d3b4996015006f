"""What tasks on the material point method have in common: tools driven by velocities, observations, pictures."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ..errors import OptionError
from ..sim.mpm import EffectorControl, MpmModel, MpmSolver, MpmState
from ..sim.rotation import rotation_matrix
from .goal_task import GoalTask
from .task import Settings, free_box, unit_box

if TYPE_CHECKING:
    from ..sim.render import Drawing


@dataclasses.dataclass(frozen=True)
class MpmSettings(Settings):
    """Settings that every task with tools has."""

    cell: float = 0.01
    """Edge of a grid cell [m]; two particles a cell along each axis."""
    max_speed: float = 0.3
    """Of a tool for an action of 1 [m/s]."""
    max_spin: float = 4.0
    """Of a tool for an action of 1 [rad/s]."""
    observed: int = 32
    """Particles of each body, and of each inflow, that a policy sees."""


class MpmTask(GoalTask):
    """A task whose actions are the velocities of rigid tools: for each tool linear along x, y, z, then, if `spins`, angular about x, y, z."""

    model: MpmModel
    spins: ClassVar[bool] = True
    """Whether an action turns its tool too: 6 numbers for each tool, else 3."""
    tool_colors: Sequence[tuple[float, float, float]] = ((0.62, 0.66, 0.70),)
    tool_alpha: float = 1.0
    body_colors: Sequence[tuple[float, float, float]] = ()

    def build(self) -> None:
        """Makes the solver of `scene()`."""
        self.model = self.scene()
        self.solver = MpmSolver(self.model)
        sizes = [source.count for source in self.model.sources]
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        self.bodies = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        seen = [
            torch.linspace(start, start + size - 1, min(size, self.settings.observed)).long()
            for start, size in zip(starts, sizes, strict=True)
        ]
        self._seen = torch.cat(seen).to(self.device)
        tools = len(self.model.effectors)
        self.action_space = unit_box((6 if self.spins else 3) * tools)
        self.observation_space = free_box(6 * len(self._seen) + 7 * tools)
        self._start = self.solver.initial_state(1)

    @abstractmethod
    def scene(self) -> MpmModel:
        """The model of the task's settings."""

    @property
    @override
    def softness(self) -> float | None:
        """The least softness of its tools, in cells; None without tools."""
        reach = [float(torch.as_tensor(tool.softness, dtype=torch.float64).min()) for tool in self.model.effectors]
        return min(reach) / self.settings.cell if reach else None

    @override
    def softened(self, softness: float) -> MpmSolver:
        """A solver of the task's model whose tools act from at least `softness` cells away.

        Raises:
            OptionError: without tools, or if the softness is not finite and at least 0.
        """
        if not self.model.effectors:
            raise OptionError(f"{self.name} has no tools whose contact could be softened.")
        if not 0 <= softness < math.inf:
            raise OptionError(f"The softness is {softness} cells; it must be finite and at least 0.")
        reach = softness * self.settings.cell
        tools = [
            dataclasses.replace(tool, softness=own.clamp(min=reach) if isinstance(own := tool.softness, Tensor) else max(own, reach))
            for tool in self.model.effectors
        ]
        return MpmSolver(dataclasses.replace(self.model, effectors=tools))

    def initial_state(self, batch: int, seed: int) -> MpmState:
        """The model's start, with particles moved at random by up to a hundredth of a cell, so that seeds differ and nothing is degenerate."""
        draw = torch.Generator().manual_seed(seed)
        noise = (2 * torch.rand(1, *self._start.position.shape[1:], generator=draw, dtype=torch.float64) - 1) * (0.01 * self.settings.cell)
        return self._start.replace(position=self._start.position + noise.to(self._start.position)).repeat(batch)

    def control(self, action: Tensor, state: MpmState) -> EffectorControl:
        """Velocities of the tools."""
        motion = action.view(action.shape[0], len(self.model.effectors), -1)
        linear = motion[..., :3] * self.settings.max_speed
        return EffectorControl(linear, motion[..., 3:] * self.settings.max_spin if self.spins else torch.zeros_like(linear))

    def observe(self, state: MpmState) -> Tensor:
        """Places and velocities of some particles, active or not, then position and quaternion of each tool."""
        parts = (state.position[:, self._seen], state.velocity[:, self._seen], state.effector_position, state.effector_rotation)
        return torch.cat([part.flatten(1) for part in parts], 1)

    def draw(self, state: MpmState, env: int) -> Drawing:
        """Active particles, coloured by body and then by inflow, and the tools."""
        from ..sim.render import Drawing, Surface

        active = state.active[env].cpu()
        points = state.position[env].detach().double().cpu()[active]
        counts = torch.tensor([source.count for source in self.model.sources])
        colors = torch.repeat_interleave(torch.tensor(self.body_colors, dtype=torch.float64), counts, 0)[active]
        meshes = []
        turns = rotation_matrix(state.effector_rotation[env].detach().double().cpu())
        for k, surface in enumerate(self._surfaces()):
            vertices = torch.tensor(surface.vertices) @ turns[k].T + state.effector_position[env, k].detach().double().cpu()
            meshes.append(Surface(vertices.numpy(), surface.faces, self.tool_colors[k % len(self.tool_colors)], self.tool_alpha))
        lattice = self.settings.cell / 2
        return Drawing(points.numpy(), colors.numpy(), 0.6 * lattice, meshes, ground=self.model.lower[-1])

    def _surfaces(self) -> list:
        if not hasattr(self, "_meshes"):
            self._meshes = [self.model.voxels(tool).surface() for tool in self.model.effectors]
        return self._meshes


def rounded(square: Tensor, corner: float = 1e-3) -> Tensor:
    """The distance [m] whose square is given, with its corner at zero rounded over a millimetre."""
    return torch.sqrt(square + corner * corner) - corner
