"""What people type, turned into settings: names with a suggestion, `name=value` pairs, options that several verbs share."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import OptionError, UnknownNameError

TaskName = Annotated[str, typer.Argument(metavar="TASK", help='A name that "pliant list" shows, or "module:Class" of a task of your own.')]
Preset = Annotated[str, typer.Option(help='Preset of the task; "pliant info TASK" shows them.')]
Seed = Annotated[int, typer.Option(min=0, help="Where the initial state and all random numbers come from.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64. Default: the task's.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
TaskOptions = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help='An option of the task, see "pliant info TASK"; may be repeated.')
]
NoVideo = Annotated[bool, typer.Option("--no-video", help="Write no video, which saves its rendering.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Where the results go. Default: a folder under runs/.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace whatever run the folder holds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def known(what: str, name: str, names: Iterable[str]) -> str:
    """`name`, if it is one of `names`.

    Raises:
        UnknownNameError: with the nearest of them, and the list.
    """
    names = list(names)
    if name in names:
        return name
    short = {_core(entry): entry for entry in names}
    near = difflib.get_close_matches(_core(name), short, 1, 0.6)
    hint = f" Did you mean {short[near[0]]}?" if near else ""
    raise UnknownNameError(f"There is no {what} {name!r}.{hint} There are: {', '.join(names) or 'none'}.")


def pairs(words: Iterable[str]) -> dict[str, str]:
    """The values by name of words like `name=value`.

    Raises:
        OptionError: for a word without a name or an equals sign, or a name that comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise OptionError(f"{word!r} is no option; write name=value.")
        if name in found:
            raise OptionError(f"{name} is given twice; give it once.")
        found[name] = value.strip()
    return found


def literal(text: str) -> Any:
    """A number, truth value, None or list where `text` reads like one, and the text itself otherwise."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("none", "null"):
        return None
    for convert in (int, float, _list):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def parsed(name: str, text: str, default: Any) -> Any:
    """`text` as a value of the type of `default`; anything that `literal` reads where the default is None.

    Raises:
        OptionError: if it does not read like one.
    """
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        items = _list(text) if text.startswith("[") else [item for item in text.strip("() ").split(",") if item.strip()]
        return tuple(parsed(name, item.strip(), default[0] if default else None) if isinstance(item, str) else item for item in items)
    if default is None:
        return literal(text)
    kind = type(default)
    value = literal(text)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise OptionError(f"{name} is {text!r}; it must be of type {kind.__name__}, like {default!r}.")
    return value


def _core(name: str) -> str:
    """The part of a name that people remember: Pouring of pliant/Pouring-v0."""
    return re.sub(r"-v\d+$", "", name.rpartition("/")[2]).lower()


def _list(text: str) -> list[Any]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError(text)
    return value
