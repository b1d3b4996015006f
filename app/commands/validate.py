"""`pliant validate`: physics cases with a known answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...errors import OptionError
from ..options import known, pairs
from ..terminal import number, print_json, say

KEYS = ("case", "params", "value", "reference", "error", "tolerance", "passed", "seconds", "source")


def validate(
    words: Annotated[
        list[str], typer.Argument(metavar="[CASE or prefix] [NAME=VALUE ...]", help="Cases (all, if none) and values of their parameters.")
    ] = [],  # noqa: B006
    list_: Annotated[bool, typer.Option("--list", help="List the cases with their parameters and run none.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each case, and nothing else, on stdout.")] = False,
) -> None:
    """Compare the simulators with known answers.

    These are closed forms, trusted tables and finite differences, computed for the parameters that are asked for.
    Exit status: 0 every case passed, 1 one failed, 2 wrong usage, 130 interrupted.
    """
    from ...validation import CASES, run_case

    names = chosen([word for word in words if "=" not in word], list(CASES))
    given = pairs(word for word in words if "=" in word)
    _check_parameters(given, [CASES[name].defaults for name in names])
    if list_:
        _list({name: CASES[name] for name in names}, json)
        return
    failed = []
    for name in names:
        settings = [f"{key}={value}" for key, value in given.items() if key in CASES[name].defaults]
        try:
            found = run_case(name, settings)
            record, passed = found.record(), found.passed
        except Exception as error:
            if given or len(names) == 1:
                raise
            say(f"{name} broke off: {type(error).__name__}: {error}")
            record, passed = {**dict.fromkeys(KEYS), "case": name, "params": CASES[name].defaults, "passed": False}, False
        failed += [] if passed else [name]
        if json:
            print_json(record, indent=None)
        else:
            _print(record)
    if not json:
        typer.echo(f"{len(names) - len(failed)} of {len(names)} passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    if failed:
        raise typer.Exit(1)


def chosen(wanted: list[str], names: list[str]) -> list[str]:
    """The names that `wanted` selects, each by its whole or its beginning up to a dot; all of them if nothing is wanted.

    Raises:
        UnknownNameError: for a word that selects none, with the nearest name.
    """
    found: list[str] = []
    for word in wanted:
        matching = [name for name in names if name == word or name.startswith(f"{word.rstrip('.')}.")]
        found += matching or [known("case", word, names)]
    return [name for name in names if name in found] if wanted else names


def _check_parameters(given: dict[str, str], defaults: list[Any]) -> None:
    """Raises OptionError for a parameter that none of the cases has."""
    every = sorted({key for entry in defaults for key in entry})
    for key in given:
        if key not in every:
            raise OptionError(f"No chosen case has a parameter {key!r}; there are: {', '.join(every) or 'none'}.")


def _list(cases: dict[str, Any], json: bool) -> None:
    if json:
        entries = [(name, case.defaults, case.tolerance, case.source) for name, case in cases.items()]
        print_json([dict(zip(("case", "params", "tolerance", "source"), entry, strict=True)) for entry in entries])
        return
    for name, case in cases.items():
        params = " ".join(f"{key}={value}" for key, value in case.defaults.items())
        typer.echo(f"{name}  {params}\n    {case.summary}\n    tolerance {number(case.tolerance)}; {case.source}")


def _print(record: dict[str, Any]) -> None:
    mark = "passed" if record["passed"] else "FAILED"
    error, tolerance, seconds = (number(record[key]) for key in ("error", "tolerance", "seconds"))
    typer.echo(f"{mark}  {record['case']}  error {error} (tolerance {tolerance}), {seconds} s")
    if not record["passed"]:
        typer.echo(f"        value {_short(record['value'])}, reference {_short(record['reference'])}; {record['source']}")


def _short(value: Any) -> str:
    text = number(value)
    return text if len(text) <= 120 else f"{text[:120]} ..."
