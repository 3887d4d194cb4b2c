"""Real-time use: how soon after a frame was measured its enhanced copy is there.

A scanner delivers one frame after the other. Methods take a sequence and yield its frames in order, so two things can
be measured: the time between the frames of a whole sequence, and, for methods that look at one frame at a time, the
time that a sequence of a single frame takes from hand to hand, again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import STEnhanceLib
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.contestants import BASELINES, Contestant, contestants
from STEnhanceLib.evaluation.measured_run import Step, in_own_process, timed
from STEnhanceLib.evaluation.phantom_cases import all_cases
from STEnhanceLib.evaluation.protocols import Trial, find_protocol
from STEnhanceLib.methods import Method, Need, Task
from STEnhanceLib.sequence import ImageSequence

PASSES = 3  # through the sequence, warm, so that the 95th percentile is one of 60 frames rather than of 20
WHOLE, SINGLE = "whole sequence", "frame by frame"
NAN = float("nan")


@dataclass(frozen=True)
class StreamRecord:
    """How fast one method delivered the frames of one case; NaN where nothing was measured.

    Attributes:
        protocol, case, method: as in `records.Record`.
        fed: `whole sequence` or `frame by frame`.
        frames_per_second: warm.
        median_ms, p95_ms: of the time that a frame takes, warm.
        warm_first_frame_ms: until the first frame, by a method that has run before; median of the passes.
        first_frame_ms: until the first frame in a fresh process, loading of weights included, of required packages not.
        frames, slices: in the sequence.
        version: of STEnhance.
        error: why there are no numbers; empty where there are.
    """

    protocol: str
    case: str
    method: str
    fed: str
    frames_per_second: float = NAN
    median_ms: float = NAN
    p95_ms: float = NAN
    warm_first_frame_ms: float = NAN
    first_frame_ms: float = NAN
    frames: int = 0
    slices: int = 0
    version: str = ""
    error: str = ""


class Latencies(NamedTuple):
    """What was clocked, in seconds.

    Attributes:
        cold_first: until the first frame in a fresh process.
        warm: (passes, T) for every frame, since the one before or since it was handed over.
    """

    cold_first: float
    warm: np.ndarray


def run(
    protocols: Sequence[str],
    data_dir: Path | str | None,
    methods: Sequence[str] = (BASELINES,),
    *,
    slices: int | None = None,
    cases: Sequence[str] | None = None,
    phantoms: Sequence[str] = (),
    on_step: Callable[[int, int, str], None] = lambda done, total, now: None,
) -> list[StreamRecord]:
    """Clock methods on the middle slice (or the middle `slices`) of real sequences; arguments as `benchmark.run`.

    Raises:
        STEnhanceError: unknown protocol, method, parameter or case, no data, or a protocol whose frames cannot be
            enhanced as they come.
    """
    chosen = [find_protocol(key) for key in dict.fromkeys(protocols)]
    for protocol in chosen:
        if protocol.task is Task.TEMPORAL_INTERPOLATION:
            raise STEnhanceError(
                f"{protocol.key} fills in frames between others, so none can be enhanced as it comes; stream protocols "
                "of super-resolution or artefact reduction."
            )
    runs = [
        (case, protocol, contestant)
        for case in all_cases(data_dir, cases, phantoms)
        for protocol in chosen
        for contestant in contestants(protocol.task, methods)
    ]
    records: list[StreamRecord] = []
    for done, (case, protocol, contestant) in enumerate(runs):
        on_step(done, len(runs), f"{protocol.key} {case.name} {contestant.label}")
        row = StreamRecord(protocol.key, case.name, contestant.label, WHOLE, version=STEnhanceLib.__version__)
        try:
            trial = case.spoil(protocol, case.read(), slices or 1)
            records += _clocked(row, contestant, trial)
        except STEnhanceError as error:
            records.append(replace(row, error=str(error)))
    on_step(len(runs), len(runs), "done")
    return sorted(records, key=lambda record: [protocol.key for protocol in chosen].index(record.protocol))


def _clocked(row: StreamRecord, contestant: Contestant, trial: Trial) -> list[StreamRecord]:
    steps = contestant.steps(row.protocol, trial)
    extent = {"frames": len(trial.degraded), "slices": trial.degraded.grid.shape[0]}
    records = []
    for fed, way in ways_to_feed(contestant.method).items():
        clocked = in_own_process(way, steps, trial.degraded, contestant.inputs(trial))
        milliseconds = 1000 * clocked.warm
        records.append(
            replace(
                row,
                fed=fed,
                frames_per_second=float(1000 / milliseconds.mean()),
                median_ms=float(np.median(milliseconds)),
                p95_ms=float(np.percentile(milliseconds, 95)),
                warm_first_frame_ms=float(np.median(milliseconds[:, 0])),
                first_frame_ms=1000 * clocked.cold_first,
                **extent,
            )
        )
    return records


def ways_to_feed(method: Method) -> dict[str, Callable[..., Latencies]]:
    """How frames can be handed to a method: single ones only if it looks at no others, and k-space is of them all."""
    if method.preview_frames == 1 and Need.KSPACE not in method.needs:
        return {WHOLE: whole_sequence, SINGLE: frame_by_frame}
    return {WHOLE: whole_sequence}


def whole_sequence(steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]) -> Latencies:
    """Clock what a method yields from a whole sequence; call it in a fresh process."""
    _, cold = timed(steps, sequence, inputs)
    passes = [timed(steps, sequence, inputs)[1] for _ in range(PASSES)]
    return Latencies(float(cold[0]), np.diff(passes, axis=1, prepend=0.0))


def frame_by_frame(steps: Sequence[Step], sequence: ImageSequence, inputs: Mapping[str, Any]) -> Latencies:
    """Clock sequences of a single frame, one after the other; call it in a fresh process."""
    singles = [replace(sequence.with_frames([index]), periodic=False) for index in range(len(sequence))]
    _, cold = timed(steps, singles[0], inputs)
    warm = [[timed(steps, single, inputs)[1][-1] for single in singles] for _ in range(PASSES)]
    return Latencies(float(cold[0]), np.array(warm))


def to_markdown(records: Iterable[StreamRecord]) -> str:
    """One table per protocol, and what was clocked."""
    records = list(records)
    tables = [
        _table(key, [r for r in records if r.protocol == key]) for key in dict.fromkeys(r.protocol for r in records)
    ]
    return "\n\n".join([*tables, _FOOT]) + "\n"


_COLUMNS = {
    "frames_per_second": ("frames/s", ".1f"),
    "median_ms": ("median, ms", ".2f"),
    "p95_ms": ("95 % below, ms", ".2f"),
    "warm_first_frame_ms": ("first frame warm, ms", ".2f"),
    "first_frame_ms": ("first frame cold, ms", ".0f"),
}
_FOOT = (
    "Whole sequence: the method got all frames at once, and the time between the frames that it yielded was taken, in "
    f"{PASSES} passes after a warm-up; work on all frames together shows in the first. Frame by frame: "
    "it got one frame at a time as a sequence of its own, and the time from handing it over to having the result was "
    "taken; only for methods that need no neighbouring frames. First frame cold: in a fresh process, loading of "
    "weights included, of required packages not. Reading, writing and showing images are not in these times."
)


def _table(key: str, records: Sequence[StreamRecord]) -> str:
    slices = sorted({record.slices for record in records if record.slices})
    rows = []
    for record in records:
        values = ((getattr(record, name), digits) for name, (_, digits) in _COLUMNS.items())
        cells = ["–" if np.isnan(value) else format(value, digits) for value, digits in values]
        rows.append(f"| {record.case} | {record.method} | {record.fed} | {' | '.join(cells)} |")
    faults = [f"* {record.method} on {record.case}: {record.error}" for record in records if record.error]
    head = [
        f"### {key}: {find_protocol(key).task.value}, streamed",
        "",
        find_protocol(key).conditions + (f" Slices: {', '.join(map(str, slices))}." if slices else ""),
        "",
        "| case | method | fed | " + " | ".join(title for title, _ in _COLUMNS.values()) + " |",
        "|---|---|---|" + "---:|" * len(_COLUMNS),
    ]
    return "\n".join([*head, *rows] + (["", *faults] if faults else []))
