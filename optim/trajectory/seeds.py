"""Several runs that differ in their seed alone, with one call of the objective for the sequences of all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import OptionError, StepError
from .loop import OptimizeResult, optimize
from .method import whole_number
from .objective import Evaluation, Objective, checked


def optimize_seeds(
    objective: Objective,
    method: str = "adam",
    *,
    seeds: Sequence[int],
    batch: int | None = None,
    folder: str | Path | None = None,
    **more: Any,
) -> list[OptimizeResult]:
    """Runs `optimize` once for each seed, side by side; the objective is called with the sequences of all runs in one batch.

    Each run is the run alone to the last bit, if a batch gives the objective the bits of its sequences one by one. Runs that have ended
    drop out of the batch. `time_limit` is that of all together. Ctrl-C ends them all; each keeps its best.

    Args:
        objective: as in `optimize`. It is called from the thread of the caller only.
        method: as in `optimize`.
        seeds: whole numbers, each once.
        batch: at most so many sequences in one call of the objective, all runs together; None: as many as there are.
        folder: where each run keeps its progress, in a folder `seed-0` or the like of its own.
        **more: what else `optimize` takes, the same for all. `on_iteration` is called from other threads, never from two at a time.

    Returns:
        One result for each seed, in their order.

    Raises:
        OptionError: if there is no seed, or one comes twice.
        PliantError: what else `optimize` raises; the other runs end before, and their files are up to date.
    """
    seeds = list(seeds)
    for seed in seeds:
        whole_number("seed", seed, least=0)
    if not seeds or None in seeds or len(set(seeds)) < len(seeds) or "seed" in more:
        raise OptionError(f"seeds is {seeds}; give at least one whole number, none of them twice, and no seed= beside it.")

    def work(run: _Run, seed: int) -> OptimizeResult:
        place = None if folder is None else Path(folder) / f"seed-{seed}"
        return optimize(_Shared(objective, run), method, seed=seed, batch=batch, folder=place, **more)

    runs = [_Run(work, seed) for seed in seeds]
    try:
        for run in runs:
            run.go_on(None)
        while waiting := [run for run in runs if run.call is not None]:
            for run, answer in _answers(waiting, batch):
                run.go_on(answer)
    except BaseException as error:
        for run in sorted(runs, key=lambda run: not run.works):
            run.end()
        if not isinstance(error, KeyboardInterrupt):
            raise
    return [run.outcome() for run in runs]


@dataclass(frozen=True)
class _Call:
    """A call of the objective that a run waits for.

    Args:
        objective: as it is eased.
        eased: how it is eased; calls that agree in this may share a batch.
        actions: `[B, T, A]`
        gradient: whether the gradient is wanted.
    """

    objective: Objective
    eased: tuple[tuple[str, float], ...]
    actions: Tensor
    gradient: bool


class _Run:
    """A run in a thread of its own. It and the caller take turns, so that no two threads work at the same time.

    Args:
        work: the run; it asks for evaluations.
        seed: of the run.
    """

    def __init__(self, work: Callable[[_Run, int], OptimizeResult], seed: int) -> None:
        self.call: _Call | None = None
        self._result: OptimizeResult | None = None
        self._error: BaseException | None = None
        self._answer: Any = None
        self._mine, self._callers = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._whole, args=(work, seed), daemon=True)

    @property
    def works(self) -> bool:
        """Whether it is the turn of its thread."""
        return self._thread.is_alive() and not self._callers.is_set()

    def _whole(self, work: Callable[[_Run, int], OptimizeResult], seed: int) -> None:
        try:
            self._result = work(self, seed)
        except BaseException as error:
            self._error = error
        self._callers.set()

    def ask(self, call: _Call) -> Any:
        """Hands over to the caller until the answer is there; in the thread of the run."""
        self.call = call
        self._callers.set()
        self._mine.wait()
        self._mine.clear()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def go_on(self, answer: Any) -> None:
        """Lets the run go on with the answer to its call until it makes another or ends; raises what it failed with."""
        self._answer, self.call = answer, None
        self._callers.clear()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._mine.set()
        self._callers.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Ends the run as Ctrl-C would, wherever it is."""
        if self._thread.ident is None:
            self._thread.start()
        while self._thread.is_alive():
            self._answer = KeyboardInterrupt()
            self._mine.set()
            self._thread.join(0.001)

    def outcome(self) -> OptimizeResult:
        """The result of a run that has ended; raises what it failed with."""
        if self._result is None:
            raise self._error or RuntimeError("the run has not ended")
        return self._result


class _Shared:
    """The objective as a run sees it: a call waits until those of all runs are evaluated together."""

    def __init__(self, objective: Objective, run: _Run, eased: tuple[tuple[str, float], ...] = ()) -> None:
        self._objective, self._run, self._eased = objective, run, eased

    @property
    def shape(self) -> tuple[int, int]:
        return self._objective.shape

    @property
    def lower(self) -> Tensor:
        return self._objective.lower

    @property
    def upper(self) -> Tensor:
        return self._objective.upper

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objective, name)
        if name in ("truncated", "softened"):
            return lambda value: _Shared(found(value), self._run, (*self._eased, (name, value)))
        return found

    def __call__(self, actions: Tensor) -> Evaluation:
        gradient = actions.requires_grad and torch.is_grad_enabled()
        loss, ok, slope = self._run.ask(_Call(self._objective, self._eased, actions.detach(), gradient))
        return Evaluation(loss if slope is None else _Known.apply(actions, loss, slope), ok)


class _Known(torch.autograd.Function):
    """A loss `[B]` of actions `[B, T, A]` whose slope `[B, T, A]` is known already."""

    @staticmethod
    def forward(ctx: Any, actions: Tensor, loss: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad[:, None, None] * slope, None, None


def _answers(runs: Sequence[_Run], batch: int | None) -> list[tuple[_Run, Any]]:
    """The answer to the call of each run: loss, ok, and slope or None; or the StepError that it raised."""
    groups: dict[Any, list[list[_Run]]] = {}
    for run in runs:
        assert run.call is not None  # the caller chose them so
        parts = groups.setdefault((run.call.eased, run.call.gradient, tuple(run.call.actions.shape[1:])), [[]])
        size = sum(len(other.call.actions) for other in parts[-1] if other.call is not None)
        if batch is not None and parts[-1] and size + len(run.call.actions) > batch:
            parts.append([])
        parts[-1].append(run)
    answers: list[tuple[_Run, Any]] = []
    for part in (part for parts in groups.values() for part in parts):
        answers += zip(part, _evaluated([run.call for run in part if run.call is not None]), strict=True)
    return answers


def _evaluated(calls: Sequence[_Call]) -> list[Any]:
    """Calls in one batch, or one by one where a step has no derivative, so that it is the matter of one run only."""
    try:
        whole = _losses(calls[0], torch.cat([call.actions for call in calls]))
    except StepError as error:
        return [error] if len(calls) == 1 else [answer for call in calls for answer in _evaluated([call])]
    sizes = [len(call.actions) for call in calls]
    return list(zip(*([None] * len(sizes) if tensor is None else tensor.split(sizes) for tensor in whole), strict=True))


def _losses(call: _Call, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss and ok `[B]` of actions `[B, T, A]`, and the slope `[B, T, A]` if the call wants it and there is one."""
    with torch.set_grad_enabled(call.gradient):
        actions = actions.requires_grad_(call.gradient)
        loss, ok = checked(call.objective(actions), len(actions))
        good = ok & loss.detach().isfinite()
        slope = None
        if call.gradient and loss.requires_grad:
            slope = torch.zeros_like(actions)
            if bool(good.any()):  # what failed is left out, as where it is alone
                (slope,) = torch.autograd.grad(loss[good].sum(), actions, allow_unused=True)
    return loss.detach(), ok, slope
