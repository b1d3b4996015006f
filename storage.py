"""Arrays in and out of `.npz` files: no pickle, a kind and a schema version in each, never half a file."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FileFormatError

SCHEMA = 1
"""Raised whenever a reader of an older version would misread a file."""


def write_whole(path: str | Path, write: Any) -> None:
    """Calls `write(binary_file)` on a temporary file beside `path` and moves it there once it is complete.

    Raises:
        FileFormatError: if the folder cannot be written or the disk is full; what was at `path` before is still there.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private; a result is an ordinary file
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise FileFormatError(f"Cannot write {path}: {error.strerror or error}. Nothing there was changed.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def save_arrays(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays to `path`, marked with their `kind`."""
    whole: dict[str, Any] = {"__kind__": np.array(kind), "__schema__": np.array(SCHEMA), **arrays}
    write_whole(path, lambda file: np.savez_compressed(file, **whole))


def load_arrays(path: str | Path, kind: str, names: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Reads what `save_arrays` wrote.

    Args:
        path: the file.
        kind: the mark that it must carry.
        names: arrays that it must hold.

    Raises:
        FileFormatError: if it is missing, damaged, foreign, of another kind, or written by a newer version.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or "__kind__" not in file:
                raise FileFormatError(f"{path} was not written by pliant.")
            arrays = {name: file[name] for name in file.files}
        found, schema = str(arrays.pop("__kind__")), int(arrays.pop("__schema__", np.array(0)))
    except FileNotFoundError as error:
        raise FileFormatError(f"There is no file {path}.") from error
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path} is damaged or not an .npz file of pliant: {error}") from error
    if schema > SCHEMA:
        raise FileFormatError(f"{path} has schema {schema}; this version reads up to {SCHEMA}. Update pliant.")
    if found != kind:
        raise FileFormatError(f"{path} holds a {found}, not a {kind}.")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}.")
    return arrays
