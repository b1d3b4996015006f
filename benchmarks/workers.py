"""Processes that measure: ours, and a peer's with an interpreter of its own, so that both can take turns in one run.

A worker reads one JSON object a line and answers with one. `PLIANT_BENCH_PYTHON` names the interpreter of peers whose dependencies clash
with ours; by default it is ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

PEER_PYTHON = "PLIANT_BENCH_PYTHON"


class WorkerError(RuntimeError):
    """A worker could not do what it was asked."""


def peer_python() -> str:
    """The interpreter that has the peers."""
    return os.environ.get(PEER_PYTHON) or sys.executable


class Worker:
    """A process that does what it is asked.

    Args:
        command: how to start it.
        environment: variables besides those of this process.
        one_core: whether it may use one core only, where the system can see to that.

    Raises:
        WorkerError: by `ask`, if the worker ended, or answers with an error.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, one_core: bool = False) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
            preexec_fn=_to_one_core if one_core and hasattr(os, "sched_setaffinity") else None,
        )

    def age(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self.started

    def ask(self, what: str, **given: Any) -> Any:
        """The worker's answer to the request `what`."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": what, **given}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{what}: the process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{what}: {answer['error']}")
        return answer["value"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _to_one_core() -> None:
    """Leaves this process the last core of those that it has: what libraries start of threads then shares it."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def serve(requests: Mapping[str, Callable[..., Any]]) -> None:
    """Answers the requests on standard input until it ends; what else is printed goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": requests[request.pop("do")](**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)
