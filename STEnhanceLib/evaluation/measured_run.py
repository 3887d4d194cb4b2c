"""Runs methods in a process of their own, to measure what they alone cost in time, arithmetic and memory."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.sequence import Grid, ImageSequence

Step = tuple[Method, Mapping[str, Any]]  # a method, and its settings

SHORT_S = 20.0  # runs below are repeated warm; loading of weights and warming up matter little above
OF_NETWORKS = ("torch", "safetensors")
COUNTED_FRAMES = 4  # so that each has the neighbours that a method may look at, and pooling in time pads none


class MeasuredRun(NamedTuple):
    """A result and its price. The packages that methods require were imported before any clock started.

    Attributes:
        result: of the last step.
        seconds: computing time of all steps in a process that has done the same before; where that took more than
            `SHORT_S`, of the first run itself.
        first_seconds: computing time in the fresh process, loading of weights included.
        first_frame_ms: from the start of the fresh run until the first frame of the result.
        gflop_per_frame: 10⁹ floating-point operations in convolutions and matrix products of torch, a multiply-add
            being two, counted on three frames (on all where three are refused and the run is short); NaN where none.
        peak_mb: most memory that the process held at any moment of the first run, in 10⁶ bytes: Python, libraries,
            input and result included. NaN where the system does not tell.
    """

    result: ImageSequence
    seconds: float
    first_seconds: float
    first_frame_ms: float
    gflop_per_frame: float
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
    run = in_own_process(_measure_and_pack, steps, sequence, inputs)
    return run._replace(result=_unpack(run.result))


def measure(steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]) -> MeasuredRun:
    """As `measured_run`, in this process: its memory counts, and what it has loaded already is not loaded again."""
    _forget_peak()
    result, first = timed(steps, sequence, inputs)
    peak_mb, short = _peak_mb(), first[-1] < SHORT_S
    seconds = timed(steps, sequence, inputs)[1][-1] if short else first[-1]
    few = sequence.with_frames(range(min(COUNTED_FRAMES, len(sequence))))
    gflop = gflop_per_frame(steps, [few, sequence] if short else [few], inputs)
    return MeasuredRun(result, float(seconds), float(first[-1]), 1000 * float(first[0]), gflop, peak_mb)


def in_own_process(function: Callable, steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]):
    """What `function(steps, sequence, inputs)` returns in a fresh process, which has imported what the methods require.

    Raises:
        STEnhanceError: a method refused or failed, or the process died.
    """
    key = steps[0][0].key
    packed = {name: _pack(given) for name, given in inputs.items()}
    try:
        # Spawned, not forked: a forked process would start with the memory of this one, and torch dislikes forks.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(_call, function, steps, _pack(sequence), packed).result()
    except STEnhanceError:
        raise
    except BrokenProcessPool:
        raise STEnhanceError(f"The process of {key} died; memory may have run out. Use fewer slices.") from None
    except Exception as error:
        raise STEnhanceError(f"{key} failed: {type(error).__name__}: {error}") from error


def timed(
    steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]
) -> tuple[ImageSequence, np.ndarray]:
    """Run the steps here and now.

    Returns:
        the result, and (T,) the seconds from the start until each frame of the last step was finished.
    """
    moments: list[float] = []
    start = time.perf_counter()
    for method, settings in steps:
        moments.clear()
        parameters = parse_parameters(method, settings)
        sequence = enhance_all(method, sequence, parameters, lambda *_: moments.append(time.perf_counter()), **inputs)
    return sequence, np.array(moments[1:]) - start  # the first call says that none is finished yet


def gflop_per_frame(steps: Sequence[Step], samples: Sequence[ImageSequence], inputs: Mapping[str, Any]) -> float:
    """See `MeasuredRun`; counted on the first of `samples` that the methods do not refuse."""
    if not any("torch" in _computes_with(method) for method, _ in steps):
        return float("nan")
    from torch.utils.flop_counter import FlopCounterMode

    for sample in samples:
        try:
            with FlopCounterMode(display=False) as counter:
                result, _ = timed(steps, sample, inputs)
        except STEnhanceError:
            continue
        return counter.get_total_flops() / 1e9 / len(result) or float("nan")
    return float("nan")


def _measure_and_pack(steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]) -> MeasuredRun:
    run = measure(steps, sequence, inputs)
    return run._replace(result=_pack(run.result))


def _call(function: Callable, steps: Sequence[Step], packed, inputs):
    for package in {name for method, _ in steps for name in _computes_with(method) if not method.missing_packages()}:
        importlib.import_module(package)
    return function(steps, _unpack(packed), {name: _unpack(given) for name, given in inputs.items()})


def _computes_with(method: Method) -> list[str]:
    """The packages that it requires, and those of a network that it takes only where they are installed."""
    optional = [name for name in OF_NETWORKS if importlib.util.find_spec(name)] if method.models else []
    return [*method.requires, *optional]


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
