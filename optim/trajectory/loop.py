"""The loop that all methods share: budget, interruption, history, the best so far, and the progress file."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import FileFormatError, OptionError, ShapeError, UnknownNameError
from .adam import Adam
from .cma_es import CmaEs
from .easing import Easing
from .hybrid import Hybrid
from .knots import ActionSpace, weights
from .method import Method, whole_number
from .mppi import Mppi
from .objective import Objective, Problem, check_objective
from .progress import Progress, Snapshot, check_settings, load_progress, save_progress, set_aside

METHODS: dict[str, type[Method]] = {"adam": Adam, "cma": CmaEs, "mppi": Mppi, "hybrid": Hybrid}
"""Every method by name. A new one is a subclass of `Method` and a line here."""

WRITE_EVERY = 1.0
"""Seconds between two writings of the progress file, if the iterations are shorter than that [s]."""


@dataclass(frozen=True)
class OptimizeResult:
    """What came of a run.

    Args:
        actions: the best actions `[T, A]`, exactly as they were evaluated; the initial ones if no evaluation was good.
        loss: their loss, of the true objective whatever `Easing` did on the way; inf if no evaluation was good.
        history: arrays over the iterations 0, 1, ... (0: the initial actions), named as the fields of `Progress`.
        interrupted: whether Ctrl-C ended the run.
        iterations: updates done, those before a resumption included.
        converged: whether the method ended the run because nothing moved any more.
    """

    actions: Tensor
    loss: float
    history: dict[str, np.ndarray]
    interrupted: bool
    iterations: int
    converged: bool = False


def optimize(
    objective: Objective,
    method: str = "adam",
    *,
    iterations: int | None = None,
    time_limit: float | None = None,
    simulations: float | None = None,
    initial: Tensor | None = None,
    noise: float | None = None,
    seed: int = 0,
    knots: int | None = None,
    interpolation: str = "linear",
    easing: Easing = Easing(),  # noqa: B008, it is frozen
    batch: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    on_iteration: Callable[[Progress], bool | None] | None = None,
    **options: Any,
) -> OptimizeResult:
    """Looks for actions within their bounds that make the loss of `objective` small.

    Ctrl-C ends the run at any time and returns the best so far. Evaluations that are marked as failed or are not finite are counted and
    skipped; what each method does then is written at its class.

    Args:
        objective: the function of action sequences.
        method: a name of `METHODS`.
        iterations: updates at most, counted from the start of the first run; the initial actions are evaluated besides, as iteration 0.
        time_limit: wall time [s] after which no further iteration is begun, counted likewise.
        simulations: what all evaluations may cost, counted likewise and as `Progress` says; no iteration is begun that might exceed it, so
            that methods can be compared at equal cost. The initial actions are always evaluated. At least one of the three is needed.
        initial: actions `[T, A]` to begin with, moved into the bounds; None: zero, or what was stored if `resume`.
        noise: standard deviation, in units of the action range, of what is added to the first knots; None: 0.01 without `initial`, else 0.
        seed: where all random numbers come from; a run with the same seed gives the same bits.
        knots: how many knots span the T steps, see `ActionSpace`; None: one a step for gradients, `few_knots` for cma and mppi.
        interpolation: `linear`, `bspline`, or `constant` for segments of one action each.
        easing: easier objectives to pursue on the way. What they lead to is judged by `objective`, for one more evaluation an iteration.
        batch: at most so many sequences in one call of the objective; None: a whole population.
        folder: where `progress.npz` is kept up to date; one of an earlier run there becomes `progress.previous.npz`. None: no file.
        resume: go on from that file. A run in several parts gives the same bits as one in a single part.
        on_iteration: called after every iteration; the run ends if it returns True.
        **options: fields of `METHODS[method].Options`.

    Raises:
        UnknownNameError: if there is no such method, option or interpolation.
        ShapeError: if the objective's shape or bounds, what it returns, or `initial` has a wrong shape or dtype.
        OptionError: if a number makes no sense, there is no budget, or the objective cannot be eased as asked.
        FileFormatError: if the folder cannot be written, or the file to resume from is missing, damaged, or of another run.
        StepError: if a method with gradients gets a loss without.
    """
    chosen = METHODS.get(method) if isinstance(method, str) else None
    if chosen is None:
        raise UnknownNameError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
    chosen_options = _options(method, chosen, options)
    check_objective(objective)
    _check_numbers(iterations, time_limit, simulations, noise, seed, batch)
    whole_number("knots", knots, least=1)
    easing.check(objective)
    if resume and folder is None:
        raise OptionError("resume needs the folder of the run to go on from.")
    place = None if folder is None else Path(folder)
    lower, upper = (bound.detach().cpu().double().numpy() for bound in (objective.lower, objective.upper))
    steps, width = objective.shape
    empty = np.zeros((steps, width), dtype=str(objective.lower.dtype).removeprefix("torch."))
    given = _initial(initial, empty.shape)
    settings: dict[str, Any] = {
        "method": method,
        "shape": [steps, width],
        "dtype": str(empty.dtype),
        "lower": lower.tolist(),
        "upper": upper.tolist(),
        "seed": seed,
        "knots": chosen.default_knots(steps, width) if knots is None else knots,
        "interpolation": interpolation,
        "noise": noise if noise is not None else 0.01 if given is None else 0.0,
        **asdict(easing),
        **asdict(chosen_options),
    }
    snapshot = None
    if resume and place is not None:
        stored, begun, snapshot = load_progress(place, empty)
        if noise is None and given is None and isinstance(stored.get("noise"), int | float):
            settings["noise"] = stored["noise"]
        check_settings(place, stored, json.loads(json.dumps(settings, default=float)))
        if given is not None and not np.array_equal(given, begun):
            raise FileFormatError(f"The run in {place} began with other actions; give the same or none, or start anew without resume.")
        given = begun
    if given is None:
        given = np.zeros(empty.shape)
    space = ActionSpace(lower, upper, given, weights(steps, settings["knots"], interpolation))
    shaken = space.initial + settings["noise"] * np.random.default_rng(seed).standard_normal(space.shape)
    problem = Problem(objective, space, np.clip(shaken, 0, 1), seed, batch)
    if snapshot is None:
        snapshot = Snapshot((), problem.actions(problem.first[None])[0].cpu().numpy(), {})
        if place is not None:
            set_aside(place)
    run = _Run(problem, easing, lambda: chosen(problem, chosen_options), place, settings, given, snapshot, on_iteration)
    return run.result(*run.go(*(math.inf if budget is None else budget for budget in (iterations, time_limit, simulations))))


class _Run:
    """A run under way. `snapshot` is the last whole iteration, whatever happens in the next one."""

    def __init__(
        self,
        problem: Problem,
        easing: Easing,
        make_method: Callable[[], Method],
        folder: Path | None,
        settings: dict[str, Any],
        initial: np.ndarray,
        snapshot: Snapshot,
        on_iteration: Callable[[Progress], bool | None] | None,
    ) -> None:
        self.easing = easing
        self.problem, self.make_method, self.folder, self.settings, self.initial = problem, make_method, folder, settings, initial
        self.snapshot, self.on_iteration = snapshot, on_iteration
        self.written: Snapshot | None = None
        if folder is not None:
            save_progress(folder, settings, initial, snapshot)  # a folder that cannot be written is told before any work is done
            self.written = snapshot

    def go(self, iterations: float, time_limit: float, simulations: float) -> tuple[bool, bool]:
        """Iterates until the budget is used up; returns whether it was interrupted, and whether the method was finished."""
        interrupted = converged = False
        try:
            converged = self._iterate(iterations, time_limit, simulations)
            self._write()
        except KeyboardInterrupt:
            interrupted = True
            self._write()
        except Exception:
            self._write()
            raise
        return interrupted, converged

    def _iterate(self, iterations: float, time_limit: float, simulations: float) -> bool:
        begun = time.perf_counter() - self.snapshot.last.seconds
        method = self.make_method()
        if self.snapshot.lines:
            method.restore(self.snapshot.state)
        last_writing = time.perf_counter()
        while True:
            iteration = self.snapshot.last.iteration + 1
            seconds = time.perf_counter() - begun
            if iteration > 0 and (iteration > iterations or seconds >= time_limit or self._after(method) > simulations * (1 + 1e-9)):
                return False
            if iteration > 0 and method.finished:
                return True
            self._advance(method, iteration, begun)
            if self.folder is not None and time.perf_counter() - last_writing >= WRITE_EVERY:
                self._write()
                last_writing = time.perf_counter()
            if self.on_iteration is not None and self.on_iteration(self.snapshot.last):
                return False

    def _ease(self, iteration: int) -> tuple[int, float]:
        """The horizon and the softening of an iteration that follows on the history."""
        true = self.problem.objective
        return self.easing.horizon(true.shape[0], self.snapshot.lines), self.easing.softening(true, iteration)

    def _cost(self, losses: int, gradients: int, horizon: int) -> float:
        """What evaluations cost, in simulations of the whole horizon."""
        return (losses + gradients * self.problem.gradient_cost) * (horizon / self.problem.objective.shape[0])

    def _after(self, method: Method) -> float:
        """The simulations that will have been done at most after one more iteration."""
        horizon, softening = self._ease(self.snapshot.last.iteration + 1)
        judged = horizon < self.problem.objective.shape[0] or softening > 0
        return self.snapshot.last.simulations + self._cost(*method.demand, horizon) + judged

    def _advance(self, method: Method, iteration: int, begun: float) -> None:
        old, true = self.snapshot, self.problem.objective
        horizon, softening = self._ease(iteration)
        pursued = self.easing.eased(true, horizon, softening)
        method.problem = replace(self.problem, objective=pursued)
        if old.lines and (horizon, softening) != (old.last.horizon, old.last.softening):
            method.moved()
        trial = method.start() if iteration == 0 else method.advance(iteration)
        loss, judged = trial.loss, 0
        if pursued is not true and math.isfinite(loss):
            loss, judged = float(self.problem.losses(trial.knots[None])[0]), 1
        better = loss < old.last.best
        line = Progress(
            iteration=iteration,
            loss=loss,
            best=loss if better else old.last.best,
            pursued=trial.loss,
            horizon=horizon,
            softening=softening,
            seconds=time.perf_counter() - begun,
            evaluations=old.last.evaluations + trial.evaluations + judged,
            simulations=old.last.simulations + self._cost(trial.evaluations - trial.gradients, trial.gradients, horizon) + judged,
            skipped=old.last.skipped + trial.skipped + (judged and math.isinf(loss)),
            clipped=old.last.clipped + trial.clipped,
            gradient_norm=trial.gradient_norm,
        )
        actions = self.problem.actions(trial.knots[None])[0].cpu().numpy() if better else old.actions
        self.snapshot = Snapshot((*old.lines, line), actions, method.state())

    def _write(self) -> None:
        if self.folder is None or self.written is self.snapshot:
            return
        snapshot = self.snapshot
        try:
            save_progress(self.folder, self.settings, self.initial, snapshot)
            self.written = snapshot
        except FileFormatError as error:  # the run and its best are worth more than the file
            warnings.warn(f"{error} The run goes on without it.", RuntimeWarning, stacklevel=2)

    def result(self, interrupted: bool, converged: bool) -> OptimizeResult:
        snapshot = self.snapshot
        actions = torch.as_tensor(snapshot.actions).to(self.problem.objective.lower.device)
        return OptimizeResult(actions, snapshot.last.best, snapshot.history(), interrupted, max(0, snapshot.last.iteration), converged)


def _options(name: str, chosen: type[Method], options: dict[str, Any]) -> Any:
    known = [field.name for field in fields(chosen.Options)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UnknownNameError(f"The method {name!r} has no option {', '.join(map(repr, unknown))}; it has {', '.join(known)}.")
    try:
        return chosen.Options(**options)
    except TypeError as error:
        raise OptionError(f"An option of the method {name!r} is of the wrong type: {error}.") from error


def _check_numbers(iterations: Any, time_limit: Any, simulations: Any, noise: Any, seed: Any, batch: Any) -> None:
    if iterations is None and time_limit is None and simulations is None:
        raise OptionError("The run has no budget; give iterations, time_limit [s], simulations, or several of them.")
    whole_number("iterations", iterations, least=0)
    whole_number("batch", batch, least=1)
    whole_number("seed", seed, least=0)
    for name, value, unit in (("time_limit", time_limit, " [s]"), ("simulations", simulations, ""), ("noise", noise, " [action range]")):
        if value is not None and not (isinstance(value, int | float | np.number) and value >= 0):
            raise OptionError(f"{name} is {value!r}; it must be a number{unit} of at least 0.")
    if seed is None or noise == math.inf:
        raise OptionError("seed must be given, and noise finite.")


def _initial(initial: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if initial is None:
        return None
    if not isinstance(initial, Tensor) or not initial.dtype.is_floating_point or tuple(initial.shape) != shape:
        found = f"{initial.dtype} of shape {tuple(initial.shape)}" if isinstance(initial, Tensor) else type(initial).__name__
        raise ShapeError(f"initial must be a float tensor of shape {shape}; it is {found}.")
    values = initial.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise ShapeError("initial holds NaN or infinite values.")
    return values
