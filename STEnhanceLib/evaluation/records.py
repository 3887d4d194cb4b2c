"""The numbers of a benchmark, as JSON for machines and as Markdown for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.measured_run import SHORT_S
from STEnhanceLib.evaluation.protocols import Protocol, find_protocol
from STEnhanceLib.files.replace import replaced_when_complete

NAN = float("nan")


@dataclass(frozen=True)
class Record:
    """What one method reached on one case under one protocol; NaN where nothing was measured.

    Attributes:
        protocol, case, method: keys, and the stem of the file.
        psnr, ssim, nrmse, mae: means over the scored frames, see `metrics.FrameScores`.
        roi_psnr, roi_ssim: the same over the heart box.
        seconds_per_frame: of the result, measured or not, by a method that has run before; without loading anything.
        peak_mb: memory of a fresh process with this method alone, see `measured_run.MeasuredRun`.
        first_frame_ms: until the first frame in a fresh process, loading of weights included, of required packages not.
        first_run_seconds: for all frames in a fresh process, likewise.
        ms_per_slice: as `seconds_per_frame`, for each slice of the result.
        gflop_per_frame: 10⁹ floating-point operations of networks, see `measured_run.MeasuredRun`.
        kspace_residual: how far the centre of the result's k-space is off the measured one, as part of that.
        slices, frames: how many were scored.
        version: of STEnhance.
        error: why there are no numbers; empty where there are.
        notes: what was assumed about the case.
    """

    protocol: str
    case: str
    method: str
    psnr: float = NAN
    ssim: float = NAN
    nrmse: float = NAN
    mae: float = NAN
    roi_psnr: float = NAN
    roi_ssim: float = NAN
    seconds_per_frame: float = NAN
    peak_mb: float = NAN
    first_frame_ms: float = NAN
    first_run_seconds: float = NAN
    ms_per_slice: float = NAN
    gflop_per_frame: float = NAN
    kspace_residual: float = NAN
    slices: int = 0
    frames: int = 0
    version: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()


def write_json(records: Iterable[Record], path: Path) -> None:
    """Write a list of records; the file is complete or not there. Numbers that are not finite become null.

    Raises:
        STEnhanceError: the file cannot be written.
    """
    plain = [{name: _for_json(value) for name, value in asdict(record).items()} for record in records]
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        with replaced_when_complete(Path(path)) as stream:
            stream.write(text.encode())
    except STEnhanceError as error:
        raise STEnhanceError(f"Cannot write {path}: {error}") from error
    except OSError as error:
        raise STEnhanceError(f"Cannot write {path}: {error.strerror or error}. Choose another file.") from error


def to_markdown(records: Iterable[Record]) -> str:
    """One table per protocol: every method on every case, their means, and what was simulated."""
    records = list(records)
    keys = dict.fromkeys(record.protocol for record in records)
    tables = [_table(find_protocol(key), [record for record in records if record.protocol == key]) for key in keys]
    return "\n\n".join([*tables, _FOOT]) + "\n"


@dataclass(frozen=True)
class _Column:
    name: str
    title: str
    digits: str
    best: Callable[[Iterable[float]], float] | None = None
    everywhere: bool = True  # else only in tables that have a number for it


_COLUMNS = (
    _Column("psnr", "PSNR (dB)", ".2f", max),
    _Column("ssim", "SSIM", ".4f", max),
    _Column("nrmse", "NRMSE", ".4f", min),
    _Column("mae", "MAE", ".4f", min),
    _Column("roi_psnr", "heart PSNR (dB)", ".2f", max),
    _Column("roi_ssim", "heart SSIM", ".4f", max),
    _Column("kspace_residual", "k-space residual", ".1e", everywhere=False),
    _Column("seconds_per_frame", "s/frame", ".2g"),
    _Column("ms_per_slice", "ms/slice", ".1f", everywhere=False),
    _Column("first_frame_ms", "first frame, ms", ".0f", everywhere=False),
    _Column("gflop_per_frame", "GFLOP/frame", ".2f", everywhere=False),
    _Column("peak_mb", "peak MB", ".0f"),
)
_FOOT = (
    "Scores are strict: the 99.9th percentile of the good sequence is 1, nothing is padded, and the heart box is 96×96 "
    "pixels. The good sequences are magnitude images as the scanner interpolated them, which is more forgiving than "
    "raw k-space. Peak memory is that of a fresh process with this method alone, Python and libraries included. The "
    "first frame is that of the fresh process too, loading of weights included, of required packages not. Seconds per "
    "frame and milliseconds per slice are those of a second run in the same process, unless the first took more than "
    f"{SHORT_S:.0f} s. GFLOP are 10⁹ operations in convolutions and matrix products, a multiply-add counted as two; – "
    "where there are none. The k-space residual is the distance of the result's k-space from what was measured, over "
    "the norm of what was measured."
)


def _table(protocol: Protocol, records: Sequence[Record]) -> str:
    cases = list(dict.fromkeys(record.case for record in records))
    methods = list(dict.fromkeys(record.method for record in records))
    columns = [c for c in _COLUMNS if c.everywhere or not all(math.isnan(getattr(r, c.name)) for r in records)]
    remarks: dict[str, list[str]] = {}  # text → the rows it is about
    rows = []
    for case in cases:
        of_case = [record for record in records if record.case == case]
        rows += _rows(case, of_case, columns, remarks)
    if len(cases) > 1:
        by_method = [[record for record in records if record.method == method] for method in methods]
        rows += _rows("**mean**", [_mean(group) for group in by_method], columns, {})
    head = [
        "| case | method | " + " | ".join(column.title for column in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    slices = sorted({record.slices for record in records if record.slices})
    extent = f"Slices per case: {_span(slices)}." if slices else ""
    foot = [f"* {', '.join(dict.fromkeys(about))}: {text}" for text, about in remarks.items()]
    return "\n".join(
        [f"### {protocol.key}: {protocol.task.value}", "", f"{protocol.conditions} {extent}".strip(), ""]
        + [*head, *rows]
        + (["", *foot] if foot else [])
    )


def _rows(case: str, records: Sequence[Record], columns: Sequence[_Column], remarks: dict[str, list[str]]) -> list[str]:
    """The rows of one case, the best value of each metric in bold."""
    for record in records:
        if record.error:
            remarks.setdefault(record.error, []).append(f"{record.method} on {record.case}")
        for note in record.notes:
            remarks.setdefault(note, []).append(record.case)
    best = {
        column.name: column.best(values)
        for column in columns
        if column.best and (values := [v for r in records if not math.isnan(v := getattr(r, column.name))])
    }
    rows = []
    for record in records:
        cells = []
        for column in columns:
            value = getattr(record, column.name)
            text = "–" if math.isnan(value) else format(value, column.digits)
            wins = len(records) > 1 and column.name in best and text == format(best[column.name], column.digits)
            cells.append(f"**{text}**" if wins else text)
        rows.append(f"| {case} | {record.method} | " + " | ".join(cells) + " |")
    return rows


def _mean(records: Sequence[Record]) -> Record:
    """Over all cases; NaN wherever one of them has no number, since a mean over fewer cases compares with nothing."""
    means = {column.name: sum(getattr(r, column.name) for r in records) / len(records) for column in _COLUMNS}
    return Record(records[0].protocol, "mean", records[0].method, **means)


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def _for_json(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
