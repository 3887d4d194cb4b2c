"""Runs methods in a process of their own, to measure what they alone cost in time and memory."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.sequence import Grid, ImageSequence

Step = tuple[str, Mapping[str, Any]]  # the key of a method, and its settings


class MeasuredRun(NamedTuple):
    """A result and its price.

    Attributes:
        result: of the last step.
        seconds: computing time of all steps; libraries were imported before the clock started.
        peak_mb: most memory that the process held at any moment of the computation, in 10⁶ bytes: Python, libraries,
            input and result included. NaN where the system does not tell.
    """

    result: ImageSequence
    seconds: float
    peak_mb: float


def measured_run(steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]) -> MeasuredRun:
    """Enhance a sequence by one method after the other in a fresh process.

    Args:
        steps: each works on the result of the one before.
        sequence: what the first step gets.
        inputs: `prior` and `kspace` for the methods that need them.

    Raises:
        STEnhanceError: a method refused or failed, or its process died, for example because memory ran out.
    """
    packed = {name: _pack(given) for name, given in inputs.items()}
    try:
        # Spawned, not forked: a forked process would start with the memory of this one, and torch dislikes forks.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            frames, grid, seconds, peak_mb = process.submit(_run, steps, _pack(sequence), packed).result()
    except STEnhanceError:
        raise
    except BrokenProcessPool:
        raise STEnhanceError(f"The process of {steps[0][0]} died; memory may have run out. Use fewer slices.") from None
    except Exception as error:
        raise STEnhanceError(f"{steps[0][0]} failed: {type(error).__name__}: {error}") from error
    return MeasuredRun(ImageSequence.from_frames(frames, grid), seconds, peak_mb)


def _run(steps: Sequence[Step], packed, inputs) -> tuple[np.ndarray, Grid, float, float]:
    methods = [find_method(key) for key, _ in steps]
    for package in {name for method in methods for name in method.requires if not method.missing_packages()}:
        importlib.import_module(package)
    sequence, inputs = _unpack(packed), {name: _unpack(given) for name, given in inputs.items()}
    _forget_peak()
    start = time.perf_counter()
    for method, (_, settings) in zip(methods, steps, strict=True):
        sequence = enhance_all(method, sequence, parse_parameters(method, settings), **inputs)
    return sequence.frames, sequence.grid, time.perf_counter() - start, _peak_mb()


class _Packed(NamedTuple):
    """A sequence as it travels between processes; its attributes are a read-only mapping, which cannot."""

    frames: np.ndarray
    grid: Grid
    name: str


def _pack(given):
    return _Packed(given.frames, given.grid, given.name) if isinstance(given, ImageSequence) else given


def _unpack(given):
    if not isinstance(given, _Packed):
        return given
    return ImageSequence.from_frames(given.frames, given.grid, name=given.name)


def _forget_peak() -> None:
    """Linux only: receiving the input held it twice, which is not the method's doing."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mb() -> float:
    # On Linux ru_maxrss survives exec and would report the parent's memory; VmHWM does not.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return float("nan")
