"""Where the time of a program goes: functions on the way are wrapped, and what they take goes to the innermost one."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """Seconds by label; a function that another one with a label calls counts for its own label alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []  # what the functions called so far took, for each that runs

    def wrapped(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        """The function, timed."""

        @functools.wraps(function)
        def timed(*args: Any, **given: Any) -> Any:
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **given)
            finally:
                spent = time.perf_counter() - start
                self.seconds[label] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        return timed

    def watch(self, owner: Any, label: str, *names: str) -> None:
        """Times methods of a class, or functions of a module, from now on."""
        for name in names:
            setattr(owner, name, self.wrapped(getattr(owner, name), label))


class Watched:
    """An object some of whose methods are timed, for classes that cannot be changed."""

    def __init__(self, inner: Any, stopwatch: Stopwatch, label: str, *names: str) -> None:
        self._inner = inner
        for name in names:
            if hasattr(inner, name):
                setattr(self, name, stopwatch.wrapped(getattr(inner, name), label))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
