"""Scores frame by frame: whether a method that builds on its own results drifts away over a sequence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from STEnhanceLib.evaluation.metrics import Scores
from STEnhanceLib.evaluation.records import Record
from STEnhanceLib.files.replace import replaced_when_complete

YARDSTICK = "zero-fill"  # looks at one frame at a time, so it cannot drift: what it loses, the motion costs everyone
# The colours of the curves in reports (page.css), and what tells a line in black and white.
COLOURS = ("#7b8491", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900")
DASHES = ("-", "--", ":", "-.")


class Curve(NamedTuple):
    """PSNR of every scored frame of one result.

    Attributes:
        protocol, case, method: as in `records.Record`.
        frames: (T,) indices into the good sequence.
        times_ms: (T,) of these frames.
        psnr: (T,) in dB.
        roi_psnr: (T,) over the heart box; NaN without one.
    """

    protocol: str
    case: str
    method: str
    frames: np.ndarray
    times_ms: np.ndarray
    psnr: np.ndarray
    roi_psnr: np.ndarray

    @classmethod
    def of(cls, row: Record, times_ms: np.ndarray, scores: Scores) -> Curve:
        """The curve of a row of the table; `times_ms` are those of the whole reference."""
        heart = scores.box.psnr if scores.box else np.full(len(scores.frames), np.nan)
        keys = row.protocol, row.case, row.method
        return cls(*keys, scores.frames, times_ms[scores.frames], scores.whole.psnr, heart)


def drift_db(psnr: np.ndarray, yardstick: np.ndarray | None = None) -> float:
    """How much PSNR changes from the first to the last frame, on the straight line of least squares.

    Args:
        psnr: (T,) in dB.
        yardstick: (T,) of a method that cannot drift, on the same frames: what it loses is not counted.

    Returns:
        dB; negative when results get worse. NaN for fewer than two frames or where a value is not finite.
    """
    gain = psnr if yardstick is None else psnr - yardstick
    if len(gain) < 2 or not np.isfinite(gain).all():
        return float("nan")
    return float(np.polyfit(np.arange(len(gain)), gain, 1)[0] * (len(gain) - 1))


def write_curves(curves: Iterable[Curve], folder: Path) -> list[Path]:
    """One picture and one file of numbers for each case of each protocol, `k6-CASE.png` and `k6-CASE.json`.

    Args:
        curves: of any number of protocols, cases and methods.
        folder: is there already.

    Returns:
        the files, in the order of the curves.
    """
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.protocol, curve.case), []).append(curve)
    written = []
    for (protocol, case), group in groups.items():
        picture, numbers = (folder / f"{protocol}-{case}{ending}" for ending in (".png", ".json"))
        drifts = _drifts(group)
        with replaced_when_complete(numbers) as stream:
            stream.write(_as_json(group, drifts).encode())
        with replaced_when_complete(picture) as stream:
            _draw(group, drifts, stream)
        written += [picture, numbers]
    return written


def _drifts(group: Sequence[Curve]) -> list[tuple[float, float]]:
    """Of the whole frame and of the heart box, for each curve; against the yardstick where it ran."""
    base = next((curve for curve in group if curve.method == YARDSTICK), None)
    whole, heart = (base.psnr, base.roi_psnr) if base else (None, None)
    return [(drift_db(curve.psnr, whole), drift_db(curve.roi_psnr, heart)) for curve in group]


def _as_json(group: Sequence[Curve], drifts: Sequence[tuple[float, float]]) -> str:
    first = group[0]
    methods = {
        curve.method: {
            "psnr": _finite(curve.psnr),
            "roi_psnr": _finite(curve.roi_psnr),
            "drift_db": _finite([whole])[0],
            "roi_drift_db": _finite([heart])[0],
        }
        for curve, (whole, heart) in zip(group, drifts, strict=True)
    }
    content = {
        "protocol": first.protocol,
        "case": first.case,
        "drift_against": YARDSTICK if YARDSTICK in methods else None,
        "frames": first.frames.tolist(),
        "times_ms": first.times_ms.tolist(),
        "methods": methods,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _finite(values: Iterable[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _draw(group: Sequence[Curve], drifts: Sequence[tuple[float, float]], stream) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    has_heart = any(np.isfinite(curve.roi_psnr).any() for curve in group)
    titles = ("whole frame", "heart box") if has_heart else ("whole frame",)
    figure = Figure(figsize=(5.6 * len(titles), 4.2), dpi=120, layout="constrained")
    for column, (axes, title) in enumerate(zip(figure.subplots(1, len(titles), squeeze=False)[0], titles, strict=True)):
        for number, (curve, drift) in enumerate(zip(group, drifts, strict=True)):
            values = curve.psnr if column == 0 else curve.roi_psnr
            said = np.isfinite(drift[column]) and curve.method != YARDSTICK
            label = f"{curve.method} ({drift[column]:+.2f} dB)" if said else curve.method
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
            axes.plot(curve.frames, values, marker="o", markersize=3, linewidth=1.4, label=label, **style)
        axes.set(title=title, xlabel="frame", ylabel="PSNR (dB)")
        axes.grid(color="#dfe3e8", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)
    against = f" of the gain over {YARDSTICK}" if any(curve.method == YARDSTICK for curve in group) else ""
    figure.suptitle(f"{group[0].case}, {group[0].protocol}", fontsize=11)
    figure.supxlabel(f"In brackets: change{against} from the first to the last frame, on a straight line.", fontsize=8)
    FigureCanvasAgg(figure).print_png(stream)
