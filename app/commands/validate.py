"""`pliant validate`: physics cases with a known answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...errors import OptionError
from ..options import known, literal, pairs
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
    if list_:
        _list({name: CASES[name] for name in names}, json)
        return
    given = {name: literal(value) for name, value in pairs(word for word in words if "=" in word).items()}
    _check_parameters(given, {name: CASES[name].params for name in names})
    failed = []
    for name in names:
        params = {key: value for key, value in given.items() if key in CASES[name].params}
        try:
            found = run_case(name, params).to_json()
        except Exception as error:
            if given or len(names) == 1:
                raise
            say(f"{name} broke off: {type(error).__name__}: {error}")
            found = {**dict.fromkeys(KEYS), "case": name, "params": CASES[name].params, "passed": False}
        failed += [] if found["passed"] else [name]
        if json:
            print_json(found, indent=None)
        else:
            _print(found)
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


def _check_parameters(given: dict[str, Any], params: dict[str, dict[str, Any]]) -> None:
    """Raises OptionError for a parameter that none of the cases has."""
    every = sorted({key for entry in params.values() for key in entry})
    for key in given:
        if key not in every:
            raise OptionError(f"No chosen case has a parameter {key!r}; there are: {', '.join(every) or 'none'}.")


def _list(cases: dict[str, Any], json: bool) -> None:
    if json:
        fields = ("params", "tolerance", "source")
        print_json([{"case": name, **{field: getattr(case, field) for field in fields}} for name, case in cases.items()])
        return
    for name, case in cases.items():
        params = " ".join(f"{key}={value}" for key, value in case.params.items())
        typer.echo(f"{name}  {params}\n    tolerance {number(case.tolerance)}; {case.source}")


def _print(found: dict[str, Any]) -> None:
    mark = "passed" if found["passed"] else "FAILED"
    error, tolerance, seconds = (number(found[name]) for name in ("error", "tolerance", "seconds"))
    typer.echo(f"{mark}  {found['case']}  error {error} (tolerance {tolerance}), {seconds} s")
    if not found["passed"]:
        typer.echo(f"        value {_short(found['value'])}, reference {_short(found['reference'])}; {found['source']}")


def _short(value: Any) -> str:
    text = number(value)
    return text if len(text) <= 120 else f"{text[:120]} ..."
