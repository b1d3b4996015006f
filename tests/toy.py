"""The smallest solver and task with everything in them: a point mass in the plane, with drag, between soft walls.

Only additions, products and comparisons are used, so that a batch gives the same bits as its environments one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pliant.envs.task import Settings, Task, free_box, unit_box
from pliant.errors import ModelError
from pliant.sim.core import Capabilities, Control, Outcome, Solver, State, keep_failed, same_shape


@dataclass(frozen=True)
class PointState(State):
    """Position [m] and velocity [m/s] `[B, 2]`, and where the mass is to go [m] `[B, 2]`."""

    position: torch.Tensor
    velocity: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True)
class PointControl(Control):
    """Force [N] `[B, 2]`."""

    force: torch.Tensor


@dataclass(frozen=True)
class PointModel:
    """mass [kg], drag [kg/s], stiffness of the walls [N/m^2], all 0-dimensional; half the distance of the walls [m]."""

    mass: torch.Tensor
    drag: torch.Tensor
    stiffness: torch.Tensor
    half_width: float = 1.0
    speed_limit: float = 10.0
    dt: float = 0.05
    substeps: int = 4

    def __post_init__(self):
        if not bool(self.mass > 0):
            raise ModelError(f"mass is {self.mass.item()} kg; it must be positive.")


class PointSolver(Solver[PointModel, PointState, PointControl]):
    capabilities = Capabilities(
        dimensions=(2,), materials=("point",), contact=("walls",), differentiable=("state", "control", "mass", "drag", "stiffness")
    )

    def step(self, state, control):
        model = self.model
        same_shape("force", control.force, (state.batch, 2), state.position)
        h = model.dt / model.substeps
        x, v = state.position, state.velocity
        for _ in range(model.substeps):
            right, left = torch.relu(x - model.half_width), torch.relu(-x - model.half_width)
            speed_squared = (v * v)[:, :1] + (v * v)[:, 1:]
            force = control.force - model.drag * v * (1 + speed_squared) - model.stiffness * (right * right - left * left)
            v = v + h * force / model.mass
            x = x + h * v
        new = state.replace(position=x, velocity=v)
        status = torch.full_like(state.status, Outcome.OK)
        status[(v.abs() > model.speed_limit).any(1)] = Outcome.TOO_FAST
        status[~(x.isfinite() & v.isfinite()).all(1)] = Outcome.NOT_FINITE
        return keep_failed(state, new.replace(status=torch.where(state.ok, status, state.status)))

    def rest_control(self, batch):
        return PointControl(torch.zeros(batch, 2, dtype=self.model.mass.dtype))


def point_model(dtype=torch.float64, **changes):
    values = {"mass": 0.5, "drag": 0.3, "stiffness": 200.0}
    values.update({name: changes.pop(name) for name in list(values) if name in changes})
    return PointModel(**{name: torch.as_tensor(value, dtype=dtype) for name, value in values.items()}, **changes)


def point_state(batch=1, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    position, velocity, target = torch.rand(3, batch, 2, generator=generator, dtype=torch.float64).mul(1.6).sub(0.8).to(dtype)
    return PointState(torch.zeros(batch, dtype=torch.int32), position, velocity, target)


@dataclass(frozen=True)
class ReachSettings(Settings):
    horizon: int = 12
    dt: float = 0.05
    mass: float = 0.5
    drag: float = 0.3
    max_force: float = 4.0
    speed_limit: float = 10.0
    shape: str = "round"
    colour: tuple[float, ...] = (0.9, 0.3, 0.2)


class Reach(Task):
    """Push the mass to the target. Reward: -|x - target|^2 - 0.01 |a|^2."""

    presets = {"small": ReachSettings(), "full": ReachSettings(horizon=200)}
    failure_reward = -50.0

    def build(self):
        own = self.settings
        model = point_model(self.dtype, mass=own.mass, drag=own.drag, speed_limit=own.speed_limit, dt=own.dt)
        self.solver = PointSolver(model)
        self.action_space = unit_box(2)
        self.observation_space = free_box(6)

    def initial_state(self, batch, seed):
        generator = torch.Generator().manual_seed(seed)
        position, target = (torch.rand(2, 1, 2, generator=generator, dtype=torch.float64).mul(1.6) - 0.8).to(self.dtype)
        state = PointState(torch.zeros(1, dtype=torch.int32), position, torch.zeros(1, 2, dtype=self.dtype), target)
        return state.repeat(batch)

    def control(self, action, state):
        return PointControl(action * self.settings.max_force)

    def observe(self, state):
        return torch.cat((state.position, state.velocity, state.target), 1)

    def reward(self, state, action, following):
        return -self._squared(following.position - following.target) - 0.01 * self._squared(action)

    def final_cost(self, state):
        return 10 * self._squared(state.position - state.target)

    def metrics(self, state):
        return {"squared_distance": self._squared(state.position - state.target)}

    def draw(self, state, env):
        from pliant.sim.render import Drawing

        points = torch.stack((state.position[env], state.target[env])).double().numpy()
        return Drawing(points, np.array([self.settings.colour, (0.2, 0.8, 0.3)]), 0.1)

    def camera(self):
        from pliant.sim.render import Camera

        return Camera.planar((-1.2, -1.2), (1.2, 1.2))

    def vary(self, generator):
        return {"mass": self.settings.mass * float(generator.uniform(0.8, 1.25))}

    @staticmethod
    def _squared(vector):
        return (vector * vector)[:, 0] + (vector * vector)[:, 1]


class Gentle(Reach):
    """Ends environments in which a force pushes harder than 2 N."""

    limit = 2.0

    def advance(self, solver, state, action):
        following = super().advance(solver, state, action)
        hard = self._squared(action * self.settings.max_force) > self.limit**2
        status = torch.where(following.ok & hard, int(Outcome.OVERLOADED), following.status)
        return keep_failed(state, following.replace(status=status))


class Blind(Reach):
    """The observation is NaN right of the middle: what a broken task or an overflow looks like to Gymnasium."""

    def observe(self, state):
        seen = super().observe(state)
        return torch.where(state.position[:, :1] > 0, torch.nan, seen) if bool((state.velocity != 0).any()) else seen
