"""Where the sequences of a comparison came from, as HTML: methods, assumptions, geometry and time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from html import escape

import numpy as np

from STEnhanceLib.evaluation.alignment import frames_at
from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.origin import unsupported_per_frame
from STEnhanceLib.sequence import Grid, ImageSequence

PREFIX = "STEnhance."
SHOWN_ELSEWHERE = ("MethodTitle", "Parameters", "UnsupportedPerFrame", "Notice", "Assumed")

GRID_COLUMNS = (
    "Name",
    "Voxels",
    "Voxel size / mm",
    "First voxel, RAS / mm",
    "Frames",
    "Between frames / ms",
    "Times / ms",
    "Cycle",
)


def provenance_block(comparison: Comparison) -> str:
    """How each result was made, and how much of it the scanner measured."""
    cards = "".join(
        f"<article><h4>{escape(label)}</h4>{_definitions(_result_facts(result, comparison))}</article>"
        for label, result in zip(comparison.labels, comparison.results, strict=True)
    )
    others = {"Before": comparison.before, "Reference": comparison.reference}
    for label, sequence in others.items():
        facts = _sequence_facts(sequence) if sequence else {}
        if facts:
            cards += f"<article><h4>{label}</h4>{_definitions(facts)}</article>"
    return f'<div class="cards">{cards}</div>'


def sequence_table(comparison: Comparison) -> str:
    """Matrix, voxel size and times of every sequence."""
    rows = ""
    named = [("Before", comparison.before), *zip(comparison.labels, comparison.results, strict=True)]
    if comparison.reference:
        named.append(("Reference", comparison.reference))
    for label, sequence in named:
        grid = sequence.grid
        k, j, i = grid.shape
        origin = ", ".join(f"{n:.2f}" for n in grid.ijk_to_ras[:3, 3])
        cells = (
            label,
            sequence.name or "–",
            f"{i} × {j} × {k}",
            " × ".join(f"{n:.4g}" for n in grid.spacing_mm),
            origin,
            str(len(grid)),
            _duration(grid),
            f"{grid.times_ms[0]:g} – {grid.times_ms[-1]:g}",
            "yes" if grid.periodic else "no",
        )
        rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    head = "".join(f'<th scope="col">{text}</th>' for text in ("", *GRID_COLUMNS))
    return f'<div class="scroll"><table class="grids"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def size_words(grid: Grid) -> str:
    """The size of a sequence in words."""
    k, j, i = grid.shape
    slices = f" × {k} slices" if k > 1 else ""
    return f"{len(grid)} frame{'s' if len(grid) > 1 else ''} of {i} × {j}{slices}"


def _result_facts(result: ImageSequence, comparison: Comparison) -> dict[str, str]:
    return {**_sequence_facts(result, "Not recorded in this sequence."), "Measured": _measured(result, comparison)}


def _sequence_facts(sequence: ImageSequence, if_unknown: str = "") -> dict[str, str]:
    own = {key.removeprefix(PREFIX): text for key, text in sequence.attributes.items() if key.startswith(PREFIX)}
    facts = {_words(key): text for key, text in own.items() if key not in SHOWN_ELSEWHERE and text}
    for settings in ("Simulated", "Parameters"):
        if own.get(settings):
            facts[settings] = _parameters(own[settings])
    assumed = own.get("Assumed") or " ".join(sequence.notes)
    if assumed:
        facts["Assumed"] = assumed
    return facts or ({"Method": if_unknown} if if_unknown else {})


def _measured(result: ImageSequence, comparison: Comparison) -> str:
    """What the scanner contributed, in numbers that were counted or recorded, not guessed."""
    here = frames_at(comparison.before.grid, result.times_ms) >= 0
    if here.all():
        words = ["Every frame lies at a measured time."]
    else:
        words = [
            f"{here.sum()} of {len(result)} frames lie at a measured time, {(~here).sum()} were filled in between."
        ]
    share = comparison.before.frames.size / result.frames.size
    if share < 1:
        words.append(f"The input has {100 * share:.3g} % as many voxels.")
    unsupported = unsupported_per_frame(result)
    if unsupported is None or np.isnan(unsupported).all():
        words.append("How much of it the measurement supports was not recorded.")
    else:
        words.append(
            f"On average {100 * np.nanmean(unsupported):.3g} % of a frame is not supported by the measurement."
        )
    return " ".join(words)


def _parameters(text: str) -> str:
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, Mapping):
        return text
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value not in ("", None)) or "none"


def _definitions(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()) + "</dl>"


def _words(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).capitalize()


def _duration(grid: Grid) -> str:
    if math.isnan(grid.frame_duration_ms):
        return "–"
    steps = np.diff(grid.times_ms)
    if np.ptp(steps) > 0.01 * grid.frame_duration_ms:
        return f"{steps.min():.4g} … {steps.max():.4g}"
    return f"{grid.frame_duration_ms:.4g}"
