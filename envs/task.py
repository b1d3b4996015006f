"""Tasks: what is to be achieved, written once in torch. Gymnasium's faces and the differentiable objective are made from it."""

from __future__ import annotations

import dataclasses
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from ..errors import DeviceError, ModelError, OptionError, ShapeError, UnknownNameError
from ..optim.trajectory.objective import GRADIENT_COST
from ..sim.core import Control, Solver, State, same_shape
from ..sim.rollout import unroll

if TYPE_CHECKING:
    from ..sim.render import Camera, Drawing
    from .identify import Parameter

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers that describe a task; a preset is one set of them, and an option changes one of them."""

    horizon: int = 100
    """Control steps of an episode."""
    dt: float = 0.01
    """Duration of a control step [s]."""


@dataclasses.dataclass(frozen=True)
class Course:
    """What happened in a rollout of a task with B environments and T steps."""

    stage_costs: Tensor
    """`[B, T]`"""
    final: State
    states: list[State] | None
    """All T + 1 states, if they were to be kept."""


@dataclasses.dataclass(frozen=True)
class TaskTrajectory(Course):
    """A rollout with its loss, which is differentiable in the actions and in the parameters of the model."""

    loss: Tensor
    """`[B]`"""
    ok: Tensor
    """`[B]` bool: no step of the environment failed, and its loss is finite."""


class Task(ABC):
    """A scene, actions on it, and how good they are.

    A subclass writes `presets`, `build`, `initial_state`, `control`, `observe` and `reward`, and what it wants of `stage_cost`,
    `final_cost`, `loss`, `advance`, `metrics`, `draw`, `camera` and `vary`. All tensors are `[B, ...]` over independent environments.

    Args:
        preset: name of an entry of `presets`; `small` runs in seconds on two cores, `full` has the published size.
        seed: of the initial state, where a rollout names none.
        dtype: one of `dtypes`; by default the first of them.
        device: where the tensors lie.
        **options: fields of the settings that shall differ from the preset.

    Raises:
        UnknownNameError: for a preset, option or dtype that does not exist.
        ModelError: for an option of the wrong type, or one that the scene cannot have.
        DeviceError: for a device that this machine does not offer.
    """

    presets: ClassVar[Mapping[str, Settings]]
    dtypes: ClassVar[tuple[str, ...]] = tuple(DTYPES)
    """In which precisions the task can be played; the first one is the default."""
    failure_reward: ClassVar[float] = -10.0
    """Reward of the step in which an environment fails. Its episode ends there, so it should be worse than doing nothing until the end."""
    gradient_cost: ClassVar[float] = GRADIENT_COST
    """Simulations that a loss with its gradient costs about; with MPM 3.4 to 5 were measured."""

    solver: Solver[Any, Any, Any]
    """Set by `build`."""
    action_space: Box
    """float32 `[A]` from -1 to 1, set by `build`."""
    observation_space: Box
    """float32 `[O]`, set by `build`. Gymnasium's faces saturate observations at its bounds, as a sensor does."""

    def __init__(
        self, preset: str = "small", *, seed: int = 0, dtype: str | None = None, device: str | torch.device = "cpu", **options: Any
    ) -> None:
        if preset not in self.presets:
            raise UnknownNameError(f"{type(self).__name__} has no preset {preset!r}; choose one of {', '.join(self.presets)}.")
        dtype = self.dtypes[0] if dtype is None else dtype
        if dtype not in self.dtypes:
            raise UnknownNameError(f"There is no dtype {dtype!r} for {type(self).__name__}; choose one of {', '.join(self.dtypes)}.")
        self.name = type(self).__name__
        self.preset = preset
        self.seed = _whole("seed", seed)
        self.dtype_name, self.dtype = dtype, DTYPES[dtype]
        self.device = _device(device)
        self.settings: Any = _changed(self.presets[preset], options)
        self.build()
        _check_spaces(self)

    @property
    def horizon(self) -> int:
        """Control steps of an episode."""
        return int(self.settings.horizon)

    @property
    def dt(self) -> float:
        """Duration of a control step [s]."""
        return float(self.settings.dt)

    @abstractmethod
    def build(self) -> None:
        """Sets `solver`, `action_space` and `observation_space` from `settings`, `dtype` and `device`; called once, by the constructor."""

    @abstractmethod
    def initial_state(self, batch: int, seed: int) -> State:
        """`batch` environments that all start in the state that belongs to `seed`."""

    @abstractmethod
    def control(self, action: Tensor, state: State) -> Control:
        """What an action `[B, A]`, from -1 to 1, does in SI units."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """What a policy sees, `[B, O]`."""

    @abstractmethod
    def reward(self, state: State, action: Tensor, following: State) -> Tensor:
        """How good the step from `state` to `following` was, `[B]`."""

    def stage_cost(self, state: State, action: Tensor, following: State, t: int) -> Tensor:
        """What step `t` adds to the loss, `[B]`; minus the reward unless a task knows better."""
        return -self.reward(state, action, following)

    def final_cost(self, state: State) -> Tensor:
        """What the last state adds to the loss, `[B]`; nothing unless a task says so."""
        return torch.zeros(state.batch, dtype=self.dtype, device=self.device)

    def loss(self, course: Course) -> Tensor:
        """The differentiable objective `[B]`: the sum of the stage costs, plus the final cost."""
        return course.stage_costs.sum(1) + self.final_cost(course.final)

    def initial_actions(self) -> Tensor:
        """Where an optimizer starts, `[T, A]`: nothing is done, unless a task knows that this has no slope to follow."""
        return torch.zeros(self.horizon, *self.action_space.shape, dtype=self.dtype, device=self.device)

    @property
    def knots(self) -> int | None:
        """By how many knots an optimizer should describe the action sequence where nobody says; None: as many as the method likes."""
        return None

    def metrics(self, state: State) -> dict[str, Tensor]:
        """Figures for people, each `[B]`; reported at the end of an episode."""
        return {}

    def draw(self, state: State, env: int) -> Drawing:
        """What environment `env` looks like."""
        raise ModelError(f"{self.name} has no picture; write its draw() and camera().")

    def camera(self) -> Camera:
        """Whence it is seen."""
        raise ModelError(f"{self.name} has no picture; write its draw() and camera().")

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The domain randomiser: settings drawn at random, around those of the task. Nothing varies unless a task says so."""
        return {}

    @property
    def softness(self) -> float | None:
        """From how far tools act, in cells; None where a task has no tools, or none that could be made softer."""
        return None

    def softened(self, softness: float) -> Solver[Any, Any, Any]:
        """A solver like the task's, in which tools act from at least `softness` cells away; to be given to `rollout`.

        Raises:
            OptionError: if the task has no such tools.
        """
        raise OptionError(f"{self.name} has no tools whose contact could be softened.")

    def identifiable(self) -> dict[str, Parameter]:
        """Positive physical parameters that can be found from an observed motion, by name; none unless a task says so."""
        return {}

    def with_parameters(self, values: Mapping[str, Any]) -> Solver[Any, Any, Any]:
        """A solver like the task's with other values of some of the `identifiable` parameters; to be given to `rollout`.

        Args:
            values: numbers, or tensors, in which a step is then differentiable.

        Raises:
            OptionError: if the task has no such parameters.
            UnknownNameError: for a name that is none of them.
        """
        raise OptionError(f"{self.name} has no parameters that could be identified.")

    def markers(self, state: State) -> Tensor:
        """Places of the points by which a motion is observed, `[B, M, 3]` [m]; wanted where something is `identifiable`."""
        raise OptionError(f"{self.name} has no parameters that could be identified.")

    def randomized(self, seed: int) -> Task:
        """This task with the settings that `vary` draws for `seed`."""
        options = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        options.update(self.vary(np.random.default_rng(_whole("seed", seed))))
        task = type(self)(self.preset, seed=self.seed, dtype=self.dtype_name, device=self.device, **options)
        task.name = self.name
        return task

    def initial_states(self, seeds: Sequence[int]) -> State:
        """One environment for every seed, the same bits whatever stands beside it."""
        seeds = [_whole("seed", seed) for seed in seeds]
        if not seeds:
            raise ShapeError("At least one seed is needed.")
        if len(set(seeds)) == 1:
            return self.initial_state(1, seeds[0]).repeat(len(seeds))
        parts = [self.initial_state(1, seed) for seed in seeds]
        return type(parts[0]).cat(parts)

    def advance(self, solver: Solver[Any, Any, Any], state: State, action: Tensor) -> State:
        """One control step of `solver`; where a task ends environments that do what it does not allow.

        It is what `step` and `rollout` call, which have checked the action. An environment that it ends goes back to `state` and carries
        the mark, by `keep_failed`.

        Args:
            solver: the task's own, or one of the same states and controls.
            state: before the step.
            action: `[B, A]`, from -1 to 1.
        """
        following: State = solver.step(state, self.control(action, state))
        return following

    def step(self, state: State, action: Tensor) -> State:
        """The state one control step later; differentiable in both arguments. Where all environments have failed, the state itself.

        Raises:
            ShapeError: if the action is not `[B, A]`, or of another dtype or device than the task.
            ModelError: naming the first action that is not within -1 and 1.
        """
        self._check_actions(action, (state.batch,))
        return self._running(self.solver, state, action)

    @property
    def shown(self) -> int:
        """How many states of a control step a film shows; those that `motion` returns."""
        return 1

    def motion(self, state: State, action: Tensor) -> list[State]:
        """What `step` passes through, for films: equally spaced states, the last of them what `step` returns."""
        return [self.step(state, action)]

    def rollout(
        self,
        actions: Tensor,
        *,
        seed: int | Sequence[int] | None = None,
        checkpoint: int | Literal["sqrt"] | None = "sqrt",
        keep: bool = False,
        solver: Solver[Any, Any, Any] | None = None,
    ) -> TaskTrajectory:
        """Plays action sequences `[B, T, A]`; the loss is differentiable in them. No step is simulated once all environments have failed.

        Args:
            actions: from -1 to 1; T may differ from the horizon.
            seed: of the state in which all environments start, or one seed for each; by default the task's.
            checkpoint: the memory knob of `sim.rollout`.
            keep: whether to return all states.
            solver: of the same states and controls, instead of the task's own; start and loss remain those of the task.

        Raises:
            ShapeError: for actions or seeds of the wrong shape, dtype or device.
            ModelError: naming the first action that is not within -1 and 1.
        """
        lead = tuple(actions.shape[:2]) if isinstance(actions, Tensor) and actions.ndim == 3 else ("B", "T")
        self._check_actions(actions, lead)
        batch, steps = int(actions.shape[0]), int(actions.shape[1])
        if batch == 0 or steps == 0:
            raise ShapeError(f"actions has shape {tuple(actions.shape)}; it needs at least one environment and one step.")
        given = self.seed if seed is None else seed
        seeds = [int(given)] * batch if isinstance(given, int | np.integer) else list(given)
        if len(seeds) != batch:
            raise ShapeError(f"There are {len(seeds)} seeds for {batch} environments; give one seed, or one for each.")

        chosen = self.solver if solver is None else solver

        def advance(state: State, t: int) -> tuple[State, Tensor]:
            following = self._running(chosen, state, actions[:, t])
            return following, self.stage_cost(state, actions[:, t], following, t)

        played = unroll(advance, self.initial_states(seeds), steps, checkpoint=checkpoint, keep=keep)
        assert played.records is not None  # advance always records
        loss = self.loss(Course(played.records, played.final, played.states))
        return TaskTrajectory(played.records, played.final, played.states, loss, played.final.ok & loss.isfinite())

    def _running(self, solver: Solver[Any, Any, Any], state: State, action: Tensor) -> State:
        """`advance`, as long as an environment is left that has not failed; a step would leave the failed ones as they are."""
        return self.advance(solver, state, action) if bool(state.ok.any()) else state

    def _check_actions(self, actions: Tensor, lead: tuple[int | str, ...]) -> None:
        """Raises if `actions` is not `[*lead, A]` of the task's dtype and device, or leaves the action space."""
        shape: Any = (*lead, *self.action_space.shape)
        same_shape("actions" if len(lead) > 1 else "action", actions, shape, torch.empty(0, dtype=self.dtype, device=self.device))
        outside = ~(actions.detach().abs() <= 1)  # NaN is outside as well
        if bool(outside.any()):
            first = tuple(outside.nonzero()[0].tolist())
            where = ", ".join(f"{axis} {index}" for axis, index in zip(_AXES[len(first)], first, strict=True))
            raise ModelError(f"The action of {where} is {float(actions[first])}; actions must be within -1 and 1. Clamp or squash them.")


_AXES = {2: ("environment", "component"), 3: ("environment", "step", "component")}


def unit_box(size: int) -> Box:
    """The space of actions with `size` components."""
    return Box(-1.0, 1.0, (size,), np.float32)


def free_box(size: int) -> Box:
    """A space of observations with `size` components and no bounds."""
    return Box(-np.inf, np.inf, (size,), np.float32)


def _check_spaces(task: Task) -> None:
    """Raises ModelError if `build` left something out; whoever writes a task is to see it at once."""
    title = type(task).__name__
    for name in ("solver", "action_space", "observation_space"):
        if not hasattr(task, name):
            raise ModelError(f"{title}.build() must set {name}.")
    for name in ("action_space", "observation_space"):
        space = getattr(task, name)
        if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype != np.float32:
            raise ModelError(f"{title}.{name} must be a one-dimensional float32 Box.")
    if not (np.all(task.action_space.low == -1) and np.all(task.action_space.high == 1)):
        raise ModelError(f"{title}.action_space must reach from -1 to 1; control() scales to SI units.")


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ModelError(f"The {name} is {value!r}; it must be a whole number of at least 0.")
    return int(value)


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, depending on how it was built
        raise DeviceError(f"This machine or this build of torch offers no device {str(device)!r}; use device='cpu'.") from error
    if found.type not in ("cpu", "cuda"):
        raise DeviceError(f"Device {found} is not supported; use 'cpu' or 'cuda'.")
    return found


def _changed(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """The settings with `options` in place, each of the type that the preset has there."""
    names = [field.name for field in dataclasses.fields(settings)]
    changes = {}
    for name, value in options.items():
        if name not in names:
            raise UnknownNameError(f"There is no option {name!r}; the options are {', '.join(names)}.")
        changes[name] = _like(name, value, getattr(settings, name))
    changed = dataclasses.replace(settings, **changes)
    if changed.horizon < 1 or not (math.isfinite(changed.dt) and changed.dt > 0):
        raise ModelError(f"horizon is {changed.horizon} and dt is {changed.dt} s; both must be positive.")
    return changed


def _like(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`, where that loses nothing; JSON's lists become tuples."""
    if isinstance(value, np.generic):
        value = value.item()
    if default is None:
        return value
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(_like(name, entry, default[0]) if default else entry for entry in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, str) and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if type(value) is not type(default):
        raise ModelError(f"Option {name} is {value!r}; it must be of type {type(default).__name__}, like {default!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ModelError(f"Option {name} is {value}; it must be finite.")
    return value
