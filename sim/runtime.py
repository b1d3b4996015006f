"""Taichi start-up: backend, threads, cache. The only caller of `ti.init`, and never at import.

Environment variables: `PLIANT_BACKEND` (`cpu`, `cuda`, `vulkan`; default by device) and `PLIANT_THREADS` (default: all cores).
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from typing import Any

import torch

from ..errors import DeviceError

BACKENDS = ("cpu", "cuda", "vulkan")
_started: str | None = None


def taichi() -> Any:
    """The Taichi module, imported on first use and without its banner."""
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
    import taichi

    return taichi


def cpu_threads() -> int:
    """How many threads a kernel on the CPU has, once Taichi has started."""
    return int(taichi().lang.impl.current_cfg().cpu_max_num_threads)


def started() -> str | None:
    """The backend that runs, or None before the first solver was made."""
    return _started


def start(device: str | torch.device = "cpu") -> str:
    """Starts Taichi once in a process and returns its backend.

    Args:
        device: where the model's tensors lie. A CPU tensor runs on `cpu`, or on `vulkan` if `PLIANT_BACKEND` says so.

    Raises:
        DeviceError: if the backend is not to be had here, or another one already runs in this process.
    """
    global _started
    device = torch.device(device)
    wanted = os.environ.get("PLIANT_BACKEND") or ("cuda" if device.type == "cuda" else "cpu")
    if wanted not in BACKENDS:
        raise DeviceError(f"PLIANT_BACKEND is {wanted!r}; it must be one of {', '.join(BACKENDS)}.")
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"Device {device} is not supported; use 'cpu' or 'cuda'.")
    if (device.type == "cuda" or wanted == "cuda") and not torch.cuda.is_available():
        raise DeviceError("CUDA was asked for, but torch finds no CUDA device here. Use device='cpu', or install a CUDA build of torch.")
    if (device.type == "cuda") != (wanted == "cuda"):
        raise DeviceError(f"Tensors on {device} cannot run on the backend {wanted}; unset PLIANT_BACKEND or move them.")
    if _started is not None:
        if _started != wanted:
            raise DeviceError(f"Taichi already runs on {_started} in this process; start a new process for {wanted}.")
        return _started
    ti = taichi()
    arch = {"cpu": ti.cpu, "cuda": ti.cuda, "vulkan": ti.vulkan}[wanted]
    options: dict[str, Any] = {
        "arch": arch,
        "log_level": ti.WARN,
        "default_fp": ti.f32,
        "offline_cache": True,
        # Taichi's own passes take ten times as long as LLVM's on our kernels, and LLVM makes code as fast without them.
        "advanced_optimization": False,
    }
    threads = os.environ.get("PLIANT_THREADS")
    if threads is not None:
        if not threads.isdigit() or int(threads) < 1:
            raise DeviceError(f"PLIANT_THREADS is {threads!r}; it must be a whole number of at least 1.")
        options["cpu_max_num_threads"] = int(threads)
    flushing = math.ulp(0.0) + 0.0 == 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # its greeting would spoil what a command prints as JSON
        ti.init(**options)
    torch.set_flush_denormal(flushing)  # Taichi makes the whole process round subnormal numbers to zero
    if ti.lang.impl.current_cfg().arch != (ti.x64 if wanted == "cpu" and arch == ti.x64 else arch):
        raise DeviceError(f"Taichi could not start on {wanted}: no driver was found. Use PLIANT_BACKEND=cpu.")
    _started = wanted
    return wanted
