"""The part of a report on what each method removed: curves and pictures over temporal frequency."""

from __future__ import annotations

from html import escape

import numpy as np

from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.evaluation.curves import spectrum_plot
from STEnhanceLib.evaluation.pictures import grey_levels, png_data_uri
from STEnhanceLib.evaluation.removed import amplitudes, frequencies, mean_amplitudes, on_one_grid

DECADES = 2.0  # from black to white in the pictures
HOW_TO_READ = (
    "Input minus result, by temporal frequency. Artefacts of undersampling flicker from frame to frame and lie "
    "everywhere, so they fill all frequencies; the heart moves with the lowest ones, at its own place. Where much was "
    "removed at low frequencies and along the borders of the heart, motion may have gone with the artefacts: this page "
    "cannot tell the two apart"
)


def removed_part(comparison: Comparison, k: int, line: tuple[int, slice]) -> str:
    """Curves over the whole images, and pictures along one vertical line; empty where no result shares the grid.

    Args:
        k: slice of the pictures.
        line: column and rows of the line, in voxels of the pictures; empty also where these are not those of the input.
    """
    before, reference = comparison.before, comparison.reference
    if comparison.display.grid.shape != before.grid.shape:
        return ""
    named = zip(comparison.labels, comparison.results, strict=True)
    results = {n: (label, r) for n, (label, r) in enumerate(named, start=1) if on_one_grid(before.grid, r.grid)}
    found = frequencies(before.grid)
    if not results or found is None:
        return ""
    axis, unit = found
    images = before.magnitude()
    shown = {"curve-0": ("Input", images)}
    for n, (label, result) in results.items():
        shown[f"curve-{n}"] = (f"Removed by {label}", images - result.magnitude())
    if reference is not None and on_one_grid(before.grid, reference.grid):
        shown["truth"] = ("What had to go (input − reference)", images - reference.magnitude())
    scale = float(np.percentile(images, 99.9)) or 1.0
    curves = {kind: (name, 100 / scale * mean_amplitudes(frames)) for kind, (name, frames) in shown.items()}
    column, rows = line
    lines = {name: amplitudes(frames[:, k, rows, column]).T for name, frames in shown.values()}  # (rows, frequencies)
    caveat = ", except by the dotted curve, which the reference gives." if "truth" in shown else "."
    return f"""
<p class="caption">{HOW_TO_READ}{caveat}</p>
<div class="removed">
<figure><figcaption>Mean amplitude over all voxels, % <small>100 % is the 99.9th percentile of the \
input</small></figcaption>{spectrum_plot(axis, curves, unit)}{_legend(curves)}</figure>
<figure><figcaption>Along the vertical line through the cross, slice {k + 1} <small>place from top to bottom, \
frequency from 0 to {axis[-1]:.3g} {unit}; black to white is {10**DECADES:.0f}-fold</small></figcaption>
<div class="spectra">{_pictures(lines)}</div></figure>
</div>"""


def _legend(curves) -> str:
    return (
        '<p class="legend-line">'
        + "".join(f'<span><i class="swatch {kind}"></i>{escape(name)}</span>' for kind, (name, _) in curves.items())
        + "</p>"
    )


def _pictures(lines: dict[str, np.ndarray]) -> str:
    """All on one logarithmic scale, whose white is the strongest oscillation."""
    white = max(float(line[:, 1:].max()) for line in lines.values()) or 1.0  # the mean of the input is far brighter
    pictures = ""
    for name, line in lines.items():
        decades = np.log10(np.maximum(line / white, 10.0**-DECADES))
        uri = png_data_uri(grey_levels(decades, -DECADES, 0.0))
        pictures += f'<figure><img alt="{escape(name)}, by temporal frequency" src="{uri}"><figcaption>{escape(name)}'
        pictures += "</figcaption></figure>"
    return pictures
