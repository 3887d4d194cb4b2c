"""One comparison as HTML: viewer, scores, provenance. All of it is readable without the script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from string import ascii_lowercase

import numpy as np

from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.evaluation.curves import metric_plot
from STEnhanceLib.evaluation.metrics import HEART_BOX, FrameScores, identical_words
from STEnhanceLib.evaluation.panes import MapRow, Pane, Viewer
from STEnhanceLib.evaluation.provenance import provenance_block, sequence_table, size_words
from STEnhanceLib.evaluation.removed_section import removed_part

INPUT_LABEL = "Input, interpolated"
METRICS = {  # attribute: (heading, unit, is more better, decimals)
    "psnr": ("PSNR", "dB", True, 2),
    "ssim": ("SSIM", "", True, 4),
    "nrmse": ("NRMSE", "", False, 4),
    "mae": ("MAE", "", False, 4),
}


def section(number: int, comparison: Comparison, viewer: Viewer, alone: bool) -> str:
    """The section of one comparison.

    Args:
        alone: it is the only one, so that the page's title is title enough.
    """
    heading = "" if alone else f'<h2><span class="number">{number}</span>{escape(comparison.title)}</h2>'
    letters = iter(ascii_lowercase)
    (i, j), half = viewer.data["focus"], viewer.data["half"][1]
    removed = removed_part(comparison, viewer.data["slice"], (int(i), slice(max(0, round(j - half)), round(j + half))))
    return f"""
<section class="comparison" id="c{number}" aria-label="{escape(comparison.title)}">
{heading}
<p class="lead">{_lead(comparison)}</p>
{_viewer(number, comparison, viewer, letters)}
{removed and f"<h3><b>{next(letters)}</b> What was removed</h3>{removed}"}
<h3><b>{next(letters)}</b> Scores</h3>
{_scores(comparison)}
<h3><b>{next(letters)}</b> Provenance</h3>
{provenance_block(comparison)}
{sequence_table(comparison)}
</section>"""


def _lead(comparison: Comparison) -> str:
    before, display = comparison.before, comparison.results[0]
    words = f"{escape(before.name or 'Input')}: {size_words(before.grid)} → {size_words(display.grid)}."
    if not comparison.scores:
        return words + " No reference was given, so nothing is scored."
    psnr = [scores.whole.means()["psnr"] for scores in comparison.scores]
    best = int(np.argmax(psnr[1:])) + 1
    name = escape(comparison.labels[best - 1])
    if math.isinf(psnr[best]):
        return f"{words} <strong>{name}</strong> equals the reference."
    gain = f", {psnr[best] - psnr[0]:+.1f} dB against the interpolated input" if math.isfinite(psnr[0]) else ""
    return f"{words} <strong>{name}</strong> reaches <strong>{psnr[best]:.1f} dB</strong>{gain}."


def _viewer(number: int, comparison: Comparison, viewer: Viewer, letters: Iterator[str]) -> str:
    columns = len(viewer.images)
    marks = "".join(
        f'<i class="{"measured" if there else "generated"}" title="{time:g} ms"></i>'
        for there, time in zip(comparison.measured, comparison.times_ms, strict=True)
    )
    legend = (
        '<span class="legend"><i class="measured"></i>measured <i class="generated"></i>between measurements</span>'
        if not comparison.measured.all()
        else ""
    )
    last = len(comparison.times_ms) - 1
    slices = comparison.display.grid.shape[0]
    options = "".join(
        f'<option value="{k}"{" selected" if k == viewer.data["slice"] else ""}>{k + 1} of {slices}</option>'
        for k in viewer.data["slices"]
    )
    order = iter(range(len(viewer.data["panes"])))
    images = "".join(_cell(pane, next(order), viewer, is_before=n == 0) for n, pane in enumerate(viewer.images))
    differences = "".join(
        _cell(pane, next(order), viewer) if pane else _colour_bar(comparison, viewer) for pane in viewer.differences
    )
    unsupported = _row_of_shares(viewer.unsupported, _bar("measured", "1 invented"), order, viewer)
    maps = [_row_of_shares(row.panes, _bar("", f"{row.limit:g}"), order, viewer) for row in viewer.maps]
    profiles = "".join(_profiles(pane, n, viewer) for n, pane in enumerate(viewer.images))
    against = "to the reference" if comparison.reference else "to the linearly interpolated input"
    wipe = f'<label>Wipe <input class="wipe-by" type="range" min="0" max="100" value="0" title="{_WIPE_HELP}"></label>'
    return f"""
<div class="viewer" data-comparison="{number - 1}" style="--columns:{columns};--aspect:{_aspect(viewer)}">
<div class="bar time">
<button class="play" type="button" aria-label="Play" title="Play (space)"></button>
<span class="track"><input class="time" type="range" min="0" max="{last}" value="0" aria-label="Frame">
<span class="marks" aria-hidden="true">{marks}</span></span>
<output class="now"><b>{comparison.times_ms[0]:g} ms</b> frame 1/{last + 1}</output>
<label><input class="fps" type="number" min="1" max="60" value="{viewer.data["fps"]}"> fps</label>
</div>
<div class="bar">
<label>Window <input class="window" type="range" min="1" max="400"></label>
<label>Level <input class="level" type="range" min="-100" max="300"></label>
<output class="grey"></output>
{wipe}
<button class="zoom" type="button" aria-pressed="false" title="Zoom (Z)">Zoom to the cross</button>
<label>Slice <select class="slice"{" disabled" if len(viewer.data["slices"]) == 1 else ""}>{options}</select></label>
{legend}
</div>
<div class="scroll"><div class="columns">
<h3 class="row"><b>{next(letters)}</b> Images <small>same grey scale; each on its own voxels; \
click to move the lines</small></h3>
{images}
<h3 class="row"><b>{next(letters)}</b> Difference {against} <small>one colour scale for all</small></h3>
{differences}
{unsupported and _UNSUPPORTED_HEADING.format(letter=next(letters))}{unsupported}
{"".join(_map_heading(row, next(letters)) + cells for row, cells in zip(viewer.maps, maps, strict=True))}
<h3 class="row needs-script"><b>{next(letters)}</b> Space–time profiles <small>along the \
<span class="across">horizontal</span> and the <span class="down">vertical</span> line, \
time from left to right</small></h3>
{profiles}
</div></div>
</div>"""


_UNSUPPORTED_HEADING = (
    '<h3 class="row"><b>{letter}</b> Unsupported fraction <small>of each voxel: what the samples of its own frame '
    "do not determine, and the method took from elsewhere</small></h3>"
)
_WIPE_HELP = "Shows the input in the left part of every result"


def _aspect(viewer: Viewer) -> str:
    (columns, rows), (i, j) = viewer.data["size"], viewer.data["spacing"]
    return f"{columns * i:.4f}/{rows * j:.4f}"


def _cell(pane: Pane, index: int, viewer: Viewer, is_before: bool = False) -> str:
    """A picture with its caption; its sheets show their first frame until the script takes over."""
    data = viewer.data["panes"][index]
    (left, top, width, height), (across, down) = data["rect"], viewer.data["size"]
    place = f"left:{100 * left / across:.4f}%;top:{100 * top / down:.4f}%;"
    place += f"width:{100 * width / across:.4f}%;height:{100 * height / down:.4f}%"
    sheet_size = f"width:{100 * data['columns']}%;height:{100 * math.ceil(len(pane.frames) / data['columns'])}%"
    sheets = "".join(
        f'<img class="sheet" alt="" data-slice="{k}" src="{uris[index]}" style="{sheet_size}"'
        f"{'' if k == viewer.data['slice'] else ' hidden'}>"
        for k, uris in viewer.sheets.items()
    )
    columns, rows = data["size"]
    spacing = pane.grid.spacing_mm
    detail = "" if pane.signed else f"<small>{columns} × {rows}, {spacing[0]:.3g} × {spacing[1]:.3g} mm</small>"
    letters = (
        "".join(f'<b class="side {side}">{letter}</b>' for side, letter in _sides(pane).items()) if is_before else ""
    )
    over = "" if pane.signed else '<svg class="cross" preserveAspectRatio="none" aria-hidden="true"></svg>'
    return (
        f'<figure class="pane{" signed" if pane.signed else ""}"><figcaption>{escape(pane.label)} {detail}</figcaption>'
        f'<div class="view" data-pane="{index}" role="img" aria-label="{escape(pane.label)}">'
        f'<div class="layer" style="{place}">{sheets}<canvas hidden></canvas></div>{over}{letters}'
        '<span class="badge" hidden></span></div></figure>'
    )


def _sides(pane: Pane) -> dict[str, str]:
    """The patient's side at each border of the picture, as on any viewer; oblique axes give two letters."""
    names = {}
    for axis, (start, end) in enumerate((("west", "east"), ("north", "south"))):
        direction = pane.grid.ijk_to_ras[:3, axis] / pane.grid.spacing_mm[axis]
        order = [n for n in np.argsort(-np.abs(direction)) if abs(direction[n]) > 0.4][:2]
        names[end] = "".join("RAS"[n] if direction[n] > 0 else "LPI"[n] for n in order)
        names[start] = "".join("LPI"[n] if direction[n] > 0 else "RAS"[n] for n in order)
    return names


def _colour_bar(comparison: Comparison, viewer: Viewer) -> str:
    limit, percent = viewer.data["limit"], viewer.data["limitPercent"]
    minus = "reference" if comparison.reference else "input"
    source = "reference" if comparison.reference else "first result"
    return (
        f'<figure class="scale"><div class="ramp"></div><div class="ends"><span>−{percent:.3g} %</span><span>0</span>'
        f"<span>+{percent:.3g} %</span></div><figcaption>Blue is darker, red is brighter than the {minus}. 100 % is "
        f"the 99.9th percentile of the {source}; the ends are ±{limit:.3g} in its own units.</figcaption></figure>"
    )


def _row_of_shares(panes: Sequence[Pane | None], bar: str, order: Iterator[int], viewer: Viewer) -> str:
    """Pictures on one scale below those of the results; the scale itself where the input has none."""
    return "".join(
        _cell(pane, next(order), viewer) if pane else bar if n == 0 else "<span></span>" for n, pane in enumerate(panes)
    )


def _bar(what_zero_means: str, end: str) -> str:
    return (
        f'<figure class="scale"><div class="ramp shares"></div><div class="ends"><span>0 {what_zero_means}</span>'
        f"<span>{end}</span></div></figure>"
    )


def _map_heading(row: MapRow, letter: str) -> str:
    title = escape(row.title[:1].upper() + row.title[1:])
    return f'<h3 class="row"><b>{letter}</b> {title} <small>{escape(row.unit)}, on one scale</small></h3>'


def _profiles(pane: Pane, index: int, viewer: Viewer) -> str:
    across, down = (2 * half * mm for half, mm in zip(viewer.data["half"], viewer.data["spacing"], strict=True))
    pictures = "".join(
        f'<div class="profile {line}"><span class="name">{name}, {length:.0f} mm</span>'
        f'<div class="strip"><canvas data-pane="{index}" data-line="{line}" role="img" '
        f'aria-label="{name} profile of {escape(pane.label)}"></canvas><i class="cursor"></i></div></div>'
        for line, name, length in (("across", "x–t", across), ("down", "y–t", down))
    )
    return f'<figure class="profiles"><figcaption>{escape(pane.label)}</figcaption><div>{pictures}</div></figure>'


def _scores(comparison: Comparison) -> str:
    if not comparison.scores:
        return (
            '<p class="empty">No reference was given, so there is nothing to score against. The difference maps show '
            "what each method changed, not whether it is right.</p>"
        )
    names = [INPUT_LABEL, *comparison.labels]
    frames, whole = comparison.scored_frames, [scores.whole for scores in comparison.scores]
    times = comparison.reference.times_ms[frames]
    span = (float(comparison.times_ms[0]), float(comparison.times_ms[-1]))
    plots = "".join(
        f"<figure><figcaption>{heading}{f' / {unit}' if unit else ''}, whole frame</figcaption>"
        f"{metric_plot(times, {n: getattr(w, metric) for n, w in zip(names, whole, strict=True)}, heading, span)}"
        "</figure>"
        for metric, (heading, unit, _, _) in list(METRICS.items())[:2]
    )
    total = len(comparison.reference)
    generated = not comparison.measured.all() and len(frames) < total
    which = f"the {len(frames)} frames that the input lacks" if generated else f"{len(frames)} of {total} frames"
    box = f"; heart box {HEART_BOX} × {HEART_BOX} voxels of every slice" if comparison.box is not None else ""
    identical = "".join(
        f" {escape(said)}"
        for name, of_all in zip(names, whole, strict=True)
        if (said := identical_words(name, of_all.identical, len(frames)))
    )
    return (
        f"{_table(comparison, names)}"
        f'<p class="caption">Means over {which}.{identical} 1 is the 99.9th percentile of the reference; SSIM with a '
        f"7×7 window per slice{box}. Best in bold. “{INPUT_LABEL}” is linear in space and time, without any method.</p>"
        f'<div class="plots">{plots}</div>'
    )


def _table(comparison: Comparison, names: list[str]) -> str:
    regions: dict[str, list[FrameScores]] = {"Whole frame": [scores.whole for scores in comparison.scores]}
    if comparison.box is not None:
        regions["Heart box"] = [scores.box for scores in comparison.scores]
    groups = "".join(f'<th colspan="{len(METRICS)}" scope="colgroup">{region}</th>' for region in regions)
    heads = "".join(
        f'<th scope="col">{heading}{f" / {unit}" if unit else ""} <span title="{"more" if up else "less"} is better">'
        f"{'↑' if up else '↓'}</span></th>"
        for _ in regions
        for heading, unit, up, _ in METRICS.values()
    )
    means = [[region[n].means() for region in regions.values()] for n in range(len(names))]
    rows = ""
    for n, name in enumerate(names):
        cells = "".join(
            _number(means[n][r][metric], [row[r][metric] for row in means], up, decimals)
            for r in range(len(regions))
            for metric, (_, _, up, decimals) in METRICS.items()
        )
        rows += f'<tr><th scope="row"><i class="swatch curve-{n}"></i>{escape(name)}</th>{cells}</tr>'
    return (
        f'<div class="scroll"><table class="scores"><thead><tr><td></td>{groups}</tr><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _number(value: float, rivals: list[float], up: bool, decimals: int) -> str:
    if math.isnan(value):
        return "<td>–</td>"
    best = max(rivals) if up else min(rivals)
    text = "identical" if math.isinf(value) else f"{value:.{decimals}f}"
    return f"<td><b>{text}</b></td>" if value == best else f"<td>{text}</td>"
