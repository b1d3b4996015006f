"""A scene whose gradient becomes useless while it stays exact: water falls on a stone and splashes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..envs.task import Course, Settings, Task, free_box, unit_box
from ..sim.materials import Liquid
from ..sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from ..sim.sdf import Box, Moved, Sphere

CELL = 0.02
"""Of the grid [m]."""
SPEED = 0.1
"""Of the stone for an action of 1 [m/s]."""


class Splash(Task):
    """Water falls from 10 cm on half a disc on the floor, in two dimensions. The disc moves along x; the loss is the mean x of the water [m]."""

    presets = {"small": Settings(horizon=120)}

    def build(self) -> None:
        """The block of water is a little off the middle of the stone."""
        water = Body.seeded(Moved(Box((0.08, 0.1)), (0.33, 0.3)), Liquid(1000.0, 4e4, 1e-3), CELL)
        stone = Effector(Sphere(0.1, dimension=2), (0.301, 0.003), friction=0.3, softness=CELL)
        model = MpmModel([water], (0.0, 0.0), (0.6, 0.6), CELL, self.dt, walls="separate", effectors=[stone], dtype=self.dtype)
        self.solver = solver = MpmSolver(model)
        self._start = solver.initial_state(1)
        self.action_space, self.observation_space = unit_box(1), free_box(1)

    def initial_state(self, batch: int, seed: int) -> MpmState:
        """Always the same."""
        return self._start.repeat(batch)

    def control(self, action: Tensor, state: MpmState) -> EffectorControl:
        """The velocity of the stone."""
        along = torch.cat([SPEED * action, torch.zeros_like(action)], 1)
        return EffectorControl(along[:, None], torch.zeros_like(action)[:, None])

    def observe(self, state: MpmState) -> Tensor:
        """The mean x of the water."""
        return state.position[..., :1].mean(1)

    def reward(self, state: MpmState, action: Tensor, following: MpmState) -> Tensor:
        """How far the water moved against x."""
        return (state.position - following.position)[..., 0].mean(1)

    def loss(self, course: Course) -> Tensor:
        """The mean x of the water at the end."""
        assert isinstance(course.final, MpmState)
        return course.final.position[..., 0].mean(1)
