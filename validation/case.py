"""What a validation case is: a physical set-up with a known answer, its parameters, its tolerance and its source."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import OptionError, UnknownNameError

Number = float | list[float]
Option = int | float | str

CASES: dict[str, Case] = {}
"""All cases by name, such as `mpm.hydrostatic`; `case` adds to them."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One error and its limit. A NaN is above every limit."""

    what: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        return f"{self.what} {self.error:.3g} (at most {self.tolerance:.3g})"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a case found.

    Args:
        value: what was simulated, a number or a list.
        reference: the known answer for the same parameters, computed or interpolated from a table.
        error: how far apart they are.
        further: other conditions that must hold too, each with its own limit.
        tolerance: the largest error that passes, where it is not that of the case.
    """

    value: Number
    reference: Number
    error: float
    further: Sequence[Check] = ()
    tolerance: float | None = None


@dataclasses.dataclass(frozen=True)
class CaseResult:
    """A case that was run. `passed` says that `error <= tolerance`, and that every further condition holds."""

    case: str
    params: dict[str, Option]
    value: Number
    reference: Number
    error: float
    """Of the case's own measure; of the first further condition that fails, if that measure passes."""
    tolerance: float
    passed: bool
    seconds: float
    source: str
    checks: tuple[Check, ...]
    """Every condition, the case's own measure first."""

    def record(self) -> dict[str, Any]:
        """The keys of `pliant validate --json`; numbers that are not finite become None, since JSON has none."""
        entries = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "checks"}
        return {key: _finite(entry) for key, entry in entries.items()}

    def to_json(self) -> str:
        """One line of JSON: `case, params, value, reference, error, tolerance, passed, seconds, source`."""
        return json.dumps(self.record(), allow_nan=False)


@dataclasses.dataclass(frozen=True)
class Case:
    """A function that simulates and measures, with what it is to be judged by."""

    name: str
    function: Callable[..., Measured]
    tolerance: float
    source: str
    defaults: Mapping[str, Option]

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def parse(self, settings: Sequence[str]) -> dict[str, Option]:
        """The parameters that strings `name=value` set.

        Raises:
            OptionError: if a string is not of that form, the case has no such parameter, or the value is not of its type.
        """
        chosen: dict[str, Option] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                raise OptionError(f"{setting!r} sets nothing; write name=value, with one of {self._known()}.")
            chosen[name.strip()] = self._typed(name.strip(), text.strip())
        return chosen

    def _known(self) -> str:
        return ", ".join(self.defaults) or "no parameter at all"

    def _typed(self, name: str, value: Option) -> Option:
        """`value`, as the type of the default of parameter `name`."""
        if name not in self.defaults:
            raise OptionError(f"{self.name} has no parameter {name!r}; it has {self._known()}.")
        kind = type(self.defaults[name])
        if kind is str:
            return str(value)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise OptionError(f"{self.name}: {name} is {value!r}; it must be a {'whole' if kind is int else 'finite'} number.")
        return kind(number)

    def run(self, **params: Option) -> CaseResult:
        """Simulates with `params` in place of the defaults.

        Raises:
            OptionError: if a parameter is unknown, of the wrong type or outside its range.
        """
        settings = {**self.defaults, **{name: self._typed(name, value) for name, value in params.items()}}
        start = time.perf_counter()
        found = self.function(**settings)
        seconds = time.perf_counter() - start
        checks = (Check("error", float(found.error), self.tolerance if found.tolerance is None else found.tolerance), *found.further)
        worst = next((check for check in checks if not check.passed), checks[0])
        return CaseResult(
            self.name, settings, found.value, found.reference, worst.error, worst.tolerance, worst.passed, seconds, self.source, checks
        )  # fmt: skip


def case(name: str, *, source: str, tolerance: float) -> Callable[[Callable[..., Measured]], Callable[..., Measured]]:
    """Registers a function as a case; its keyword arguments are the parameters, and their defaults give the types.

    Args:
        name: family and case, such as `mpm.hydrostatic`.
        source: where the reference comes from.
        tolerance: the largest error that passes.
    """

    def register(function: Callable[..., Measured]) -> Callable[..., Measured]:
        defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
        CASES[name] = Case(name, function, tolerance, source, defaults)
        return function

    return register


def case_names(pattern: str = "") -> list[str]:
    """The cases that are meant by a name, by a family such as `mpm`, or by nothing at all, in the order in which they were registered.

    Raises:
        UnknownNameError: if there is none; the message lists all.
    """
    found = [name for name in CASES if not pattern or name == pattern or name.startswith(pattern + ".")]
    if not found:
        raise UnknownNameError(f"There is no case {pattern!r}; there are {', '.join(CASES)}.")
    return found


def run_case(name: str, params: Sequence[str] | Mapping[str, Option] = ()) -> CaseResult:
    """Runs one case.

    Args:
        name: such as `mpm.hydrostatic`.
        params: strings `name=value`, or a mapping.

    Raises:
        UnknownNameError: if there is no such case.
        OptionError: if a parameter is unknown, of the wrong type or outside its range.
    """
    if name not in CASES:
        raise UnknownNameError(f"There is no case {name!r}; there are {', '.join(CASES)}.")
    chosen = CASES[name]
    return chosen.run(**(params if isinstance(params, Mapping) else chosen.parse(params)))


def require_range(low: float = 0.0, high: float = math.inf, **values: float) -> None:
    """Raises OptionError unless every value lies strictly between `low` and `high`."""
    for name, value in values.items():
        if not low < value < high:
            above = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            raise OptionError(f"{name} is {value:g}; it must lie {above}.")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises OptionError unless `value` is one of `choices`."""
    if value not in choices:
        raise OptionError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")


def _finite(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_finite(part) for part in entry]
    return None if isinstance(entry, float) and not math.isfinite(entry) else entry
