"""Inverse design: the action is a property of the scene, which then plays a motion that is fixed."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import ModelError
from ...sim.core import keep_failed
from ...sim.solid import Handle, SolidControl, SolidModel, SolidSolver, SolidState
from ..identify import Parameter
from ..task import Course, unit_box
from .shell_task import Scene, ShellSettings, ShellTask


@dataclasses.dataclass(frozen=True)
class DesignSettings(ShellSettings):
    """Settings of tasks of inverse design."""

    horizon: int = 1
    """One action chooses the design; it cannot be more."""
    script_steps: int = 40
    """Steps of the motion that is then played."""
    integrator: str = "implicit_euler"
    """Of time: implicit_euler damps what moves fast, bdf2 hardly does."""


class DesignTask(ShellTask):
    """A task whose one action chooses properties of the scene, which then plays a motion that is fixed.

    A component a of the action, from -1 to 1, is the property

        p = low (high / low)^((a + 1) / 2)

    for every name in `design`; its range is in the settings as `<name>_low` and `<name>_high`. Zero is the middle of the range, and a step
    of a has the same ratio everywhere. The loss is the cost of the last state, and differentiable in the action.

    Every call makes a solver with the properties of its environments. That takes about 20 to 40 ms in small scenes, less than a step.

    The start is the same for all designs: at rest with the properties in the middle of their ranges. The state carries the action, as the
    position [m] of a handle `dial` that holds nothing, so that a state says by which design it came about.
    """

    design: ClassVar[tuple[str, ...]]
    """Names of the properties, at most three."""
    reward_scale = 100.0

    def build(self) -> None:
        """Also checks the ranges.

        Raises:
            ModelError: if a range is none, or the horizon is not 1.
        """
        own = self.settings
        if own.horizon != 1:
            raise ModelError(f"horizon is {own.horizon}; a design is chosen by one action, so it must be 1. The motion has script_steps.")
        if own.script_steps < 1:
            raise ModelError(f"script_steps is {own.script_steps}; it must be at least 1.")
        for name in self.design:
            low, high = self._range(name)
            if not 0 < low < high:
                raise ModelError(f"{name}_low is {low} and {name}_high is {high}; they must be positive, and the first one the smaller.")
        super().build()
        self.action_space = unit_box(len(self.design))

    @property
    def dt(self) -> float:
        """Duration of a control step, the whole motion [s]."""
        return float(self.settings.dt * self.settings.script_steps)

    @abstractmethod
    def designed(self, model: SolidModel, properties: dict[str, Any]) -> SolidModel:
        """The model with these properties, numbers or tensors `[B]`."""

    @abstractmethod
    def script(self, t: Tensor, state: SolidState) -> Tensor:
        """Velocities of the grippers in step t `[B]` of the motion, linear [m/s] and angular [rad/s], `[B, G, 6]`."""

    def parameters(self, action: Tensor) -> dict[str, Tensor]:
        """The properties in SI units that an action `[B, A]` stands for, each `[B]`."""
        found = {}
        for k, name in enumerate(self.design):
            low, high = self._range(name)
            found[name] = low * torch.exp(0.5 * (action[:, k] + 1) * math.log(high / low))
        return found

    def identifiable(self) -> dict[str, Parameter]:
        """Nothing: a state is seen only before and after the motion, whose properties the action chose."""
        return {}

    def _range(self, name: str) -> tuple[float, float]:
        return getattr(self.settings, f"{name}_low"), getattr(self.settings, f"{name}_high")

    def _model(self, scene: Scene) -> SolidModel:
        """The scene with the dial, and with the properties in the middle of their ranges."""
        model = super()._model(scene)
        middle = self.parameters(torch.zeros(1, len(self.design), dtype=self.dtype))
        model = dataclasses.replace(
            model, handles=[*model.handles, Handle("dial", (0.0, 0.0, 0.0), {})], integrator=self.settings.integrator
        )
        return self.designed(model, {name: float(value) for name, value in middle.items()})

    def control(self, action: Tensor, state: SolidState) -> SolidControl:
        """What the script says; in its first step the dial goes to the action."""
        given = self._moved(state, self.script(state.age, state), torch.zeros(state.batch, len(self.grippers), dtype=self.dtype))
        set_now = torch.zeros(state.batch, 3, dtype=self.dtype)
        set_now[:, : len(self.design)] = torch.where((state.age == 0)[:, None], action.detach() / self.settings.dt, 0.0)
        return given.replace(linear_velocity=torch.cat([given.linear_velocity[:, :-1], set_now[:, None]], 1))

    def _moved(self, state: SolidState, velocity: Tensor, closing: Tensor) -> SolidControl:
        """The dial is the last handle, and stays."""
        rest = self.solver.rest_control(state.batch)
        if not self.grippers:
            return rest
        fingers = state.replace(handle_position=state.handle_position[:, :-1], handle_rotation=state.handle_rotation[:, :-1])
        given = super()._moved(fingers, velocity, closing)
        return rest.replace(
            linear_velocity=torch.cat([given.linear_velocity, rest.linear_velocity[:, -1:]], 1),
            angular_velocity=torch.cat([given.angular_velocity, rest.angular_velocity[:, -1:]], 1),
        )

    def advance(self, solver: Any, state: SolidState, action: Tensor) -> SolidState:
        """The whole motion with the properties that the action stands for; an environment that fails on the way goes back to `state`."""
        *_, following = self._played(solver, state, action)
        return keep_failed(state, following)

    @property
    def shown(self) -> int:
        """A film shows every step of the script."""
        return int(self.settings.script_steps)

    def motion(self, state: SolidState, action: Tensor) -> list[SolidState]:
        """The states after each step of the script."""
        self._check_actions(action, (state.batch,))
        *between, following = self._played(self.solver, state, action)
        return [*between, keep_failed(state, following)]

    def _played(self, solver: Any, state: SolidState, action: Tensor) -> Iterator[SolidState]:
        own = SolidSolver(self.designed(solver.model, self.parameters(action)))
        for _ in range(self.settings.script_steps):
            state = self._within_limit(state, own.step(state, self.control(action, state)))
            yield state

    def loss(self, course: Course) -> Tensor:
        """The cost at the end."""
        return course.stage_costs[:, -1]

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """The properties of the design by which the state came about."""
        return self.parameters(state.handle_position[:, -1, : len(self.design)])
