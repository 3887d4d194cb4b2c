"""The resolution that a scan was measured with, as a fact about a sequence.

A picture of 256 × 256 voxels seldom was measured with 256 × 256 samples: scanners measure less, fade out the edge of
k-space, fill the rest with zeros and transform. What was measured is found from the images (`acquired_spectrum`) and
from the header (`acquired_header`), which check each other; the images decide, and in doubt nothing is claimed: then
the shown grid counts as measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from STEnhanceLib.acquisition import acquired_bend as bend
from STEnhanceLib.acquisition import acquired_header as header
from STEnhanceLib.acquisition import acquired_spectrum as spectrum
from STEnhanceLib.acquisition.acquired_edge import (
    FADED,
    LEAST_STRENGTH_EXPECTED,
    NATIVE,
    Edge,
    ends_later,
    find_edge,
)
from STEnhanceLib.acquisition.acquired_spectrum import CORNER, Spectra
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

ALIKE = 0.05  # header and images agree, as shares
SHOWN = "shown"  # the user says that nothing was interpolated
SMALLEST = 8  # samples along an axis
TELLING = 64  # pixels along both axes, below which a spectrum has too few samples to tell
FAINT = 0.05  # a filter that lowers the edge by less is taken for none
PARTIAL = 0.9  # what ends before this share of another end, ends elsewhere

ENLARGED = (
    "The images were enlarged by something other than a zero-fill, from the nearest voxels, linearly or by splines."
)
TURNED_AFTER = "The images were turned after the scan: the measured frequencies are a turned rectangle."
TOO_SMALL = (
    "Bright tissue holds detail beyond what looks like the end of what was measured: what is shown counts as measured."
)
MOST_BEYOND = 0.01
LOPSIDED = 5.0  # nepers
SLICES_DIFFER = "Not all slices were measured with the same matrix."
AS_THEY_ARE = "They are taken as they are shown."


@dataclass(frozen=True, eq=False)
class Acquired:
    """What was measured of the images of a sequence, and where that is known from.

    Attributes:
        shown_ji: matrix of the images as given, (J, I).
        measured_ji: matrix that was measured over the same field of view, up to where the scanner's filter falls to a
            tenth; `shown_ji` where nothing was interpolated.
        window_j, window_i: (measured_j,), (measured_i,) float32 in (0, 1], in the order of the transform: amplitude
            that the filter left of every frequency along each axis.
        corners_cut: k-space has no samples in its corners.
        partial_fourier: which side of k-space was left out, and how much of it; empty for none, and for magnitudes,
            which do not show it.
        noise_std: of real and imaginary part each, in units of the images, on the shown grid; NaN where unknown.
        noise_spectrum: (measured_j, measured_i) float32, power of the noise at every frequency, of mean 1.
        source: "header", "images", "header and images", "user" or "none".
        sureness: 0 … 1.
        notes: sentences for the user.
        header_ji, images_ji: what each of them says by itself; None where it says nothing.
    """

    shown_ji: tuple[int, int]
    measured_ji: tuple[int, int]
    window_j: np.ndarray
    window_i: np.ndarray
    corners_cut: bool
    partial_fourier: str
    noise_std: float
    noise_spectrum: np.ndarray
    source: str
    sureness: float
    notes: tuple[str, ...] = ()
    header_ji: tuple[int, int] | None = None
    images_ji: tuple[int, int] | None = None

    @property
    def interpolated(self) -> bool:
        """More is shown than was measured."""
        return self.measured_ji != self.shown_ji

    def window(self) -> np.ndarray:
        """(measured_j, measured_i) float32: what the filter left of every frequency; 0 in corners that were cut.

        A filter that fades out and leaves nothing in the corners is round, as Fermi's is.
        """
        if not self.corners_cut:
            return np.outer(self.window_j, self.window_i)
        radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) * 2 for n in self.measured_ji), indexing="ij"))
        along = [
            np.interp(radius, np.abs(np.fft.fftfreq(n))[: n // 2] * 2, window[: n // 2])
            for n, window in zip(self.measured_ji, (self.window_j, self.window_i), strict=True)
        ]
        return ((along[0] + along[1]) / 2 * (radius <= CORNER)).astype(np.float32)

    def line(self) -> str:
        """One line for the user, rows × columns."""
        shown, measured = matrix_text(self.shown_ji), matrix_text(self.measured_ji)
        known = {
            "header and images": "header and images agree",
            "images": "found from the images",
            "header": "as the header says",
            "user": "as you say",
        }.get(self.source, "")
        if not self.interpolated:
            known = known if self.source != "images" else "the images show no interpolation"
            return "; ".join(filter(None, (f"shown and measured as {shown}", known)))
        about = "" if self.source == "user" else "about "
        return f"shown as {shown}, measured as {about}{measured}; {known}"


def matrix_text(ji: tuple[float, float]) -> str:
    """224 × 160, rows × columns."""
    return f"{ji[0]:.0f} × {ji[1]:.0f}"


def estimate(sequence: ImageSequence, wanted: str = "") -> Acquired:
    """Find out what was measured.

    Args:
        sequence: magnitude, signed or complex images.
        wanted: empty to find out; "shown" where nothing was interpolated; or the measured matrix as the user knows it,
            rows × columns, "224x160". Filter and noise are found from the images in either case.

    Raises:
        STEnhanceError: `wanted` is neither, or larger than what is shown.
    """
    shown = tuple(sequence.frames.shape[-2:])
    given = _wanted(wanted, shown) if wanted.strip() else None
    seen = spectrum.spectra(sequence.frames)
    if given is not None:
        raw = _edges(seen, shown, np.iscomplexobj(sequence.frames))
        edges = _with_matrix(raw, given, shown)
        return replace(_complete(sequence, seen, edges, given), source="user", sureness=1.0)
    if sequence.attributes.get("STEnhance.Task") == "super-resolution":
        method = sequence.attributes.get("STEnhance.MethodTitle", "A method of STEnhance")
        note = f"{method} made this grid, not the scanner: it counts as measured."
        return replace(_complete(sequence, seen, (NATIVE, NATIVE), shown), notes=(note,))
    return _found(sequence, seen)


def _found(sequence: ImageSequence, seen: Spectra) -> Acquired:
    shown = tuple(sequence.frames.shape[-2:])
    read, notes = header.readings(sequence.attributes, shown, sequence.grid.spacing_mm[1::-1])
    raw = _edges(seen, shown, np.iscomplexobj(sequence.frames))
    edges, doubts = _without_doubtful(sequence, seen, raw)
    measured = tuple(edge.share * size for edge, size in zip(edges, shown, strict=True))
    source, sureness, header_ji = "images", min(map(_sureness, edges, raw)), None
    if read:
        best = min(read, key=lambda each: _distance(each.ji, _believed(raw, edges, each.ji, shown)))
        header_ji = tuple(round(n) for n in best.ji)
        if not doubts:
            edges = tuple(
                one if _expected(one, said, size) else edge
                for one, edge, said, size in zip(raw, edges, best.ji, shown, strict=True)
            )
            measured = tuple(edge.share * size for edge, size in zip(edges, shown, strict=True))
    claimed = any(edge is not NATIVE for edge in edges)
    if claimed and spectrum.beyond(sequence.frames, _whole(measured, shown)) > MOST_BEYOND:
        edges, measured, notes = (NATIVE, NATIVE), shown, (*notes, TOO_SMALL)
    images_ji = tuple(round(n) for n in measured)
    if header_ji is not None and not doubts and _distance(best.ji, measured) <= ALIKE:
        source, measured, sureness = "header and images", best.ji, 1 - (1 - sureness) / 2
        notes += (f"The header was read so that {best.how}.",) if best.how else ()
    elif header_ji is not None and header_ji != images_ji:
        show = "no clear end of what was measured" if images_ji == shown else matrix_text(images_ji)
        notes += (f"The header says {matrix_text(header_ji)}, the images show {show}. The images were followed.",)
    found = _complete(sequence, seen, edges, _whole(measured, shown))
    if not found.interpolated and len(seen.slices) and (not doubts or _reaches_on(sequence, raw, doubts)):
        found = _filtered(found, bend.depth_of_stack(spectrum.some_images(sequence.frames)))
        notes += found.notes
    partial = _partial_fourier(raw)
    if partial:
        notes += (f"Partial Fourier left out {partial}.",)
    return replace(
        found,
        noise_std=float("nan") if partial else found.noise_std,
        source=source,
        sureness=sureness,
        notes=(*notes, *doubts),
        header_ji=header_ji,
        images_ji=images_ji,
        partial_fourier=partial,
    )


def _reaches_on(sequence: ImageSequence, raw: tuple[Edge, Edge], doubts: tuple[str, ...]) -> bool:
    """Whether doubtful edges are none: bright tissue of every slice has detail beyond them, and nothing enlarged it."""
    shown = sequence.frames.shape[-2:]
    ends = _whole(tuple(edge.share * size for edge, size in zip(raw, shown, strict=True)), shown)
    enlarged = any(ENLARGED in doubt for doubt in doubts)
    images = spectrum.some_images(sequence.frames)
    return not enlarged and min(spectrum.beyond(images[:, [k]], ends) for k in range(images.shape[1])) > MOST_BEYOND


def _filtered(found: Acquired, depth: float) -> Acquired:
    """Native images under a raised cosine that lowers the edge of k-space by a share of `depth`."""
    if depth < FAINT:
        return found
    window_j, window_i = (bend.raised_cosine(size, depth) for size in found.shown_ji)
    power = np.outer(window_j, window_i) ** 2
    note = (
        f"The spectrum bends down towards its end, as under a filter that lowers the edge of k-space by {depth:.0%} or "
        "more."
    )
    return replace(
        found, window_j=window_j, window_i=window_i, noise_spectrum=power / power.mean(), notes=(*found.notes, note)
    )


def _edges(seen: Spectra, shown: tuple[int, int], is_complex: bool) -> tuple[Edge, Edge]:
    """The best hypothesis along each axis, sure or not; of complex images that of the side that reaches further."""
    if not len(seen.slices) or min(shown) < TELLING:
        return NATIVE, NATIVE
    found = []
    for axis in (0, 1):
        if is_complex:
            sides = [find_edge(spectrum.profile(seen.mean, seen.taper, axis, sign)) for sign in (-1, 1)]
            ends = [edge.share if edge.sure else 1.0 for edge in sides]
            if min(ends) < PARTIAL * max(ends):
                side = "negative" if ends[0] < ends[1] else "positive"
                left_out = (max(ends) - min(ends)) / (2 * max(ends))
                text = f"{left_out:.0%} of k-space on the {side} side of the {('rows', 'columns')[axis]}"
                found.append(replace(sides[int(np.argmax(ends))], left_out=text))
                continue
        found.append(find_edge(spectrum.profile(seen.mean, seen.taper, axis)))
    return tuple(found)


def _partial_fourier(edges: tuple[Edge, Edge]) -> str:
    return " and ".join(edge.left_out for edge in edges if edge.left_out)


def _without_doubtful(
    sequence: ImageSequence, seen: Spectra, raw: tuple[Edge, Edge]
) -> tuple[tuple[Edge, Edge], tuple[str, ...]]:
    """Only those edges that are sure, and none where something else than a zero-fill was done to the images."""
    if not len(seen.slices):
        return (NATIVE, NATIVE), ()
    if any(spectrum.enlarged_by_neighbours(sequence.frames, axis) for axis in (-2, -1)):
        return (NATIVE, NATIVE), (f"{ENLARGED} {AS_THEY_ARE}",)
    edges = tuple(edge if edge.sure else NATIVE for edge in raw)
    both = all(edge is not NATIVE for edge in edges)
    lopsided = both and spectrum.lopsided(seen.mean, tuple(edge.share for edge in edges)) > LOPSIDED
    if lopsided or any(_turned(seen, axis, edges) for axis in (0, 1) if edges[axis] is not NATIVE):
        return (NATIVE, NATIVE), (f"{TURNED_AFTER} {AS_THEY_ARE}",)
    kept = tuple(
        NATIVE if edge is not NATIVE and _slices_differ(seen, axis, edge) else edge for axis, edge in enumerate(edges)
    )
    weakly = [
        axis for axis, edge in enumerate(edges) if edge is NATIVE and raw[axis].strength >= LEAST_STRENGTH_EXPECTED
    ]
    if kept != edges or any(_slices_differ(seen, axis) for axis in weakly):
        return kept, (f"{SLICES_DIFFER} {AS_THEY_ARE}",)
    return kept, ()


def _turned(seen: Spectra, axis: int, edges: tuple[Edge, Edge]) -> bool:
    """Whether the edge along an axis lies elsewhere along the diagonals."""
    diagonals = spectrum.diagonal_profiles(seen.mean, seen.taper, axis, edges[1 - axis].share)
    return any(ends_later(one, edges[axis]) for one in diagonals)


def _slices_differ(seen: Spectra, axis: int, edge: Edge | None = None) -> bool:
    """Whether some slice ends clearly beyond an edge; without one, whether two slices surely end at different ones."""
    if len(seen.slices) < 2:
        return False
    some = seen.slices[np.unique(np.linspace(0, len(seen.slices) - 1, 3).astype(int))]
    profiles = [spectrum.profile(one, seen.taper, axis) for one in some]
    if edge is not None:
        return any(ends_later(one, edge) for one in profiles)
    first, last = (find_edge(one) for one in (profiles[0], profiles[-1]))
    ends = [one.share if one.sure else 1.0 for one in (first, last)]
    return min(ends) < PARTIAL * max(ends)


def _complete(
    sequence: ImageSequence,
    seen: Spectra,
    edges: tuple[Edge, Edge],
    measured: tuple[int, int],
) -> Acquired:
    """With filter, corners and noise, but without where it is known from."""
    shown = tuple(sequence.frames.shape[-2:])
    windows = []
    for size, kept, edge in zip(shown, measured, edges, strict=True):
        share = np.abs(np.fft.fftfreq(kept)) * 2 * kept / size
        windows.append(edge.window(share).clip(FADED / 2, 1).astype(np.float32))
    seen_any = len(seen.slices) > 0
    cut = seen_any and spectrum.corners_cut(seen.mean, tuple(m / n for m, n in zip(measured, shown, strict=True)))
    ones = np.ones(measured, np.float32)
    found = Acquired(shown, measured, *windows, cut, "", float("nan"), ones, "none", 0.5)
    power = found.window() ** 2
    std = spectrum.noise_std(sequence.frames, seen.taper, found.window().clip(FADED / 2)) if seen_any else float("nan")
    return replace(found, noise_std=std, noise_spectrum=power / power.mean())


def _with_matrix(edges: tuple[Edge, Edge], measured: tuple[int, int], shown: tuple[int, int]) -> tuple[Edge, Edge]:
    """The filters that were seen, where they end about where the user says; else none."""
    return tuple(
        edge if _expected(edge, said, size) else NATIVE for edge, said, size in zip(edges, measured, shown, strict=True)
    )


def _believed(raw, edges, said: tuple[float, float], shown: tuple[int, int]) -> tuple[float, float]:
    """What the images show, along each axis what they show weakly where that is about what is said."""
    return tuple(
        size * (one.share if _expected(one, expected, size) else edge.share)
        for one, edge, expected, size in zip(raw, edges, said, shown, strict=True)
    )


def _expected(edge: Edge, said: float, size: int) -> bool:
    """An edge that is seen at least weakly where it is said to be."""
    seen = edge.strength >= LEAST_STRENGTH_EXPECTED and edge.told_from_all
    return seen and abs(edge.share * size / said - 1) <= ALIKE


def _wanted(text: str, shown: tuple[int, int]) -> tuple[int, int]:
    """(J, I) of "rows x columns"."""
    if text.strip().lower() == SHOWN:
        return shown
    match = re.fullmatch(r"\s*(\d+)\s*[x×*, ]\s*(\d+)\s*", text, re.IGNORECASE)
    measured = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(SMALLEST <= n <= most for n, most in zip(measured, shown, strict=True)):
        raise STEnhanceError(
            f"The measured matrix was given as {text.strip()!r}; expected rows × columns such as "
            f"{shown[0]}x{shown[1]}, each at least {SMALLEST} and at most what is shown, or {SHOWN!r} where "
            "nothing was interpolated."
        )
    return measured


def _whole(samples: tuple[float, float], shown: tuple[int, int]) -> tuple[int, int]:
    """A matrix of whole samples, at least one along each axis and at most what is shown."""
    return tuple(min(max(round(n), 1), most) for n, most in zip(samples, shown, strict=True))


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(abs(a / b - 1) for a, b in zip(one, other, strict=True))


def _sureness(edge: Edge, raw: Edge) -> float:
    """Of an edge that is claimed, or of there being none although `raw` fits best."""
    if edge is not NATIVE:
        return float(np.clip(1 - edge.misfit / max(edge.misfit_native, 1e-9), 0, 1))
    return float(np.clip(1 - raw.strength / 8, 0.3, 0.9))
