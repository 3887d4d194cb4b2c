"""The pictures of a comparison: which frame of which sequence stands where, when, and on which scale."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from STEnhanceLib.evaluation.alignment import field_of_view, frames_at, held_frames, interpolated, slice_at
from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.evaluation.curves import nice_ceiling
from STEnhanceLib.evaluation.metrics import HEART_BOX
from STEnhanceLib.evaluation.pictures import grey_levels, png_data_uri, sheet, sheet_columns, signed_levels
from STEnhanceLib.methods.declaration import MAP_TITLE, MAP_UNIT
from STEnhanceLib.origin import unsupported_per_frame
from STEnhanceLib.sequence import Grid, ImageSequence, frames_per_second

MOST_SLICES = 5
PROFILE_MM = 60.0  # half the length of a space-time profile, enough for a heart


@dataclass(frozen=True, eq=False)
class Pane:
    """One moving picture.

    Attributes:
        label: what it shows.
        grid: its own, coarse or fine; voxels are never resampled for display.
        frames: (T, K, J, I) intensities, or differences where `signed`.
        shown: index of the frame at each time of the common axis; -1 for none.
        badges: what to say about the frame at each time of the common axis; "" for nothing.
        signed: a difference map, or a map of fractions.
        limit: the end of its colour scale, where that is not the one that all differences share.
    """

    label: str
    grid: Grid
    frames: np.ndarray
    shown: np.ndarray
    badges: tuple[str, ...] = ()
    signed: bool = False
    limit: float | None = None


@dataclass(frozen=True, eq=False)
class MapRow:
    """The pictures of one map of all results, on one scale.

    Attributes:
        title: what it maps.
        unit: of its values.
        limit: the end of the scale, which starts at 0.
        panes: below each of the images; None where there is no such map.
    """

    title: str
    unit: str
    limit: float
    panes: tuple[Pane | None, ...]


@dataclass(frozen=True, eq=False)
class Viewer:
    """All pictures of a comparison on their common scales.

    Attributes:
        images: `before`, the results, and the reference where there is one.
        differences: below each of the images; None where there is nothing to subtract from.
        unsupported: below those; None where nobody computed it, and empty where that holds for all.
        maps: below those, one row each.
        data: what the page's script needs to draw them, ready for JSON.
        sheets: for every slice on offer, one PNG data URI per image and per difference, as `data["panes"]`.
    """

    images: tuple[Pane, ...]
    differences: tuple[Pane | None, ...]
    unsupported: tuple[Pane | None, ...]
    maps: tuple[MapRow, ...]
    data: dict
    sheets: dict[int, list[str]] = field(default_factory=dict)


def make_viewer(comparison: Comparison, budget: int) -> Viewer:
    """Choose scales and slices, and draw the sheets.

    Args:
        budget: bytes that the pictures may take; one slice is always drawn, more while they fit.
    """
    display = comparison.display
    images, differences = _image_panes(comparison), _difference_panes(comparison)
    voxels = display.magnitude()
    scale = float(np.percentile(voxels, 99.9)) or 1.0
    low, high = min(0.0, float(voxels.min())), 1.15 * scale
    limit = _difference_limit([pane for pane in differences if pane], scale)
    slices = _slices_by_interest(comparison)
    unsupported, maps = _unsupported_panes(comparison), _map_rows(comparison)
    below = (*differences, *unsupported, *(pane for row in maps for pane in row.panes))
    panes = [*images, *(pane for pane in below if pane)]
    sheets: dict[int, list[str]] = {}
    for k in slices[:MOST_SLICES]:
        if sheets and (len(sheets) + 1) * max(_size(uris) for uris in sheets.values()) > budget:
            break
        sheets[k] = [_draw(pane, display.grid, k, (low, high), limit) for pane in panes]
    focus, half = _focus(comparison, slices[0])
    data = {
        "times": comparison.times_ms.tolist(),
        "fps": frames_per_second(comparison.times_ms),
        "start": _first_look(comparison, differences[1], slices[0]),
        "size": display.grid.shape[:0:-1],
        "spacing": display.grid.spacing_mm[:2],
        "slices": sorted(sheets),
        "slice": slices[0],
        "grey": [low, high],
        "window": [0.0, _bright(voxels[:, slices[0]], focus, half) or high],
        "focus": focus,
        "half": half,
        "box": _box_rectangle(comparison),
        "limit": limit,
        "limitPercent": 100 * limit / scale,
        "panes": [
            {
                "rect": field_of_view(pane.grid, display.grid),
                "size": pane.grid.shape[:0:-1],
                "columns": sheet_columns(len(pane.frames)),
                "frames": pane.shown.tolist(),
                "badges": list(pane.badges),
                "signed": pane.signed,
            }
            for pane in panes
        ],
    }
    return Viewer(images, differences, unsupported, maps, data, sheets)


def _image_panes(comparison: Comparison) -> tuple[Pane, ...]:
    times = comparison.times_ms
    before = comparison.before
    panes = [_pane("Before", before, times, tuple("" if there else "held" for there in comparison.measured))]
    for label, result in zip(comparison.labels, comparison.results, strict=True):
        panes.append(_pane(label, result, times, _badges(result, comparison)))
    if comparison.reference:
        panes.append(_pane("Reference", comparison.reference, times))
    return tuple(panes)


def _pane(label: str, sequence: ImageSequence, times: np.ndarray, badges: tuple[str, ...] = ()) -> Pane:
    return Pane(label, sequence.grid, sequence.magnitude(), held_frames(sequence.grid, times), badges)


def _badges(result: ImageSequence, comparison: Comparison) -> tuple[str, ...]:
    """Where a frame of a result comes from: measured, generated, or how much of it the measurement leaves open."""
    own, source = frames_at(result.grid, comparison.times_ms), frames_at(comparison.before.grid, comparison.times_ms)
    shares = unsupported_per_frame(result)
    badges = []
    for frame, measured, is_measured in zip(own, source, comparison.measured, strict=True):
        if frame < 0:
            badges.append("held")
        elif not is_measured:
            badges.append("generated")
        elif np.array_equal(result.frames[frame], comparison.before.frames[measured]):
            badges.append("measured")
        elif shares is not None and np.isfinite(shares[frame]):
            badges.append(f"{100 * shares[frame]:.3g} % unsupported")
        else:
            badges.append("")
    return tuple(badges)


def _difference_panes(comparison: Comparison) -> tuple[Pane | None, ...]:
    reference, times = comparison.reference, comparison.times_ms
    if reference is None:
        return (
            None,
            *(_change(comparison, *named) for named in zip(comparison.labels, comparison.results, strict=True)),
        )
    truth, grid = reference.magnitude(), reference.grid
    shown = frames_at(grid, times)
    panes = [Pane("Input − reference", grid, interpolated(comparison.before, grid) - truth, shown, signed=True)]
    for label, result in zip(comparison.labels, comparison.results, strict=True):
        own = frames_at(result.grid, grid.times_ms)
        error = np.where((own >= 0)[:, None, None, None], result.magnitude()[own] - truth, 0)
        both = np.where((shown >= 0) & (frames_at(result.grid, times) >= 0), shown, -1)
        panes.append(Pane(f"{label} − reference", grid, error, both, signed=True))
    return (*panes, None)


def _change(comparison: Comparison, label: str, result: ImageSequence) -> Pane:
    change = result.magnitude() - interpolated(comparison.before, result.grid)
    return Pane(f"{label} − input", result.grid, change, frames_at(result.grid, comparison.times_ms), signed=True)


def _unsupported_panes(comparison: Comparison) -> tuple[Pane | None, ...]:
    panes: list[Pane | None] = [None]
    for label, shares in zip(comparison.labels, comparison.unsupported, strict=True):
        if shares is None:
            panes.append(None)
        else:
            shown = frames_at(shares.grid, comparison.times_ms)
            panes.append(Pane(label, shares.grid, shares.frames, shown, signed=True, limit=1.0))
    if not any(panes):
        return ()
    return (*panes, None) if comparison.reference else tuple(panes)


def _map_rows(comparison: Comparison) -> tuple[MapRow, ...]:
    found: dict[tuple[str, str], dict[int, ImageSequence]] = {}
    for index, maps in enumerate(comparison.maps):
        for each in maps:
            found.setdefault((each.attributes[MAP_TITLE], each.attributes[MAP_UNIT]), {})[index] = each
    rows = []
    for (title, unit), maps in found.items():
        limit = nice_ceiling(max(float(np.percentile(each.frames, 99.5)) for each in maps.values()) or 1.0)
        panes: list[Pane | None] = [None] * (1 + len(comparison.results) + bool(comparison.reference))
        for index, each in maps.items():
            shown = frames_at(each.grid, comparison.times_ms)
            label = comparison.labels[index]
            panes[1 + index] = Pane(label, each.grid, each.frames, shown, signed=True, limit=limit)
        rows.append(MapRow(title, unit, limit, tuple(panes)))
    return tuple(rows)


def _difference_limit(panes: list[Pane], scale: float) -> float:
    """One round end of the colour scale for all maps, so that they can be compared; few voxels lie beyond."""
    beyond = max(float(np.percentile(np.abs(pane.frames), 99.5)) for pane in panes)
    return nice_ceiling(max(100 * beyond / scale, 0.1)) * scale / 100


def _slices_by_interest(comparison: Comparison) -> list[int]:
    """The slice that moves most comes first, then others spread over the stack."""
    display = comparison.display
    rows, columns = comparison.box or (slice(None), slice(None))
    slices = display.grid.shape[0]
    if slices == 1:
        return [0]
    motion = display.magnitude()[:, :, rows, columns].std(axis=0).mean(axis=(1, 2))
    first = int(motion.argmax()) if len(display) > 1 and motion.any() else slices // 2
    spread = [round(k) for k in np.linspace(0, slices - 1, min(slices, MOST_SLICES + 1))]
    return [first, *(k for k in sorted(spread, key=lambda k: abs(k - first)) if k != first)]


def _focus(comparison: Comparison, k: int) -> tuple[list[float], list[float]]:
    """Centre and half lengths, in voxels, of the cross along which the profiles run."""
    from scipy.ndimage import gaussian_filter

    display = comparison.display
    _, rows, columns = display.grid.shape
    spacing = display.grid.spacing_mm
    if comparison.heart_centre_xy is not None:
        centre = [float(c) + 0.5 for c in comparison.heart_centre_xy]
        reach = HEART_BOX / 2
    else:
        motion = gaussian_filter(display.magnitude()[:, k].std(axis=0), min(rows, columns) / 16, mode="constant")
        j, i = np.unravel_index(motion.argmax(), motion.shape) if motion.any() else (rows // 2, columns // 2)
        centre, reach = [i + 0.5, j + 0.5], min(rows, columns) / 3
    half = [min(reach, PROFILE_MM / spacing[0], columns / 2), min(reach, PROFILE_MM / spacing[1], rows / 2)]
    return centre, half


def _first_look(comparison: Comparison, difference: Pane, k: int) -> int:
    """The moment a page opens with: the first, or where frames were filled in, the hardest of those."""
    if comparison.measured.all():
        return 0
    errors = np.square(difference.frames[:, k]).mean(axis=(1, 2))
    return int(np.argmax(np.where((difference.shown >= 0) & ~comparison.measured, errors[difference.shown], -1)))


def _bright(frames: np.ndarray, focus: list[float], half: list[float]) -> float:
    """What a first look shows white: the brightest voxels around the cross, not the fat at the chest wall."""
    (i, j), (wide, high) = focus, half
    rows, columns = (slice(max(0, round(c - h)), round(c + h)) for c, h in ((j, high), (i, wide)))
    return 1.15 * float(np.percentile(frames[:, rows, columns], 99.5))


def _box_rectangle(comparison: Comparison) -> list[int] | None:
    if comparison.box is None:
        return None
    rows, columns = comparison.box
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]


def _draw(pane: Pane, onto: Grid, k: int, greys: tuple[float, float], limit: float) -> str:
    frames = pane.frames[:, slice_at(pane.grid, onto, k)]
    levels = signed_levels(frames, pane.limit or limit) if pane.signed else grey_levels(frames, *greys)
    return png_data_uri(sheet(levels))


def _size(uris: list[str]) -> int:
    return sum(map(len, uris))
