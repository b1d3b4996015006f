"""Rows as a page in Markdown, and the command line that writes it."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ..storage import write_whole
from . import Row
from .workers import peer_python


def machine(peer: str) -> str:
    """Cores, architecture, and versions: of Taichi, of torch, and of the distribution `peer`, as far as the peers' interpreter has it."""
    code = f"from importlib.metadata import version; print(version({peer!r}))"
    found = subprocess.run([peer_python(), "-c", code], check=False, capture_output=True, text=True)
    other = f"{peer} {found.stdout.strip()}" if found.returncode == 0 else "no peer"
    import taichi
    import torch

    versions = f"taichi {'.'.join(map(str, taichi.__version__))}, torch {torch.__version__.split('+')[0]}, {other}"
    return f"{os.cpu_count()} cores, {platform.machine()}; {versions}."


def page(title: str, notes: Sequence[str], rows: Sequence[Row], peer: str | None = None) -> str:
    """A headline, notes, and a table.

    Args:
        title: headline.
        notes: lines that say what was done and how to do it again.
        rows: figures.
        peer: title of the peer's column; None where there are several, whose names then follow their figures.
    """
    lines = [f"# {title}", "", *notes, "", f"| what | size | ours | {peer or 'peer'} | unit | ratio |", "|---|---|---|---|---|---|"]
    for row in rows:
        other = "" if row.peer is None else f"{row.peer:.3g}" + ("" if peer else f" ({row.peer_name})")
        ratio = "" if row.ratio is None else f"{row.ratio:.2g}" if row.ratio < 1 else f"{row.ratio:.1f}"
        lines.append(f"| {row.what} | {row.size} | {row.ours:.3g} | {other} | {row.unit} | {ratio} |")
    return "\n".join(lines) + "\n"


def write_page(description: str, measured: Callable[[], str]) -> None:
    """Reads the command line, measures, prints the page and writes it where `--out` says."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=None, help="where the table goes, besides the screen")
    given = parser.parse_args()
    text = measured()
    print(text)
    if given.out is not None:
        write_whole(given.out, lambda file: file.write(text.encode()))
