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

from STEnhanceLib.acquisition import acquired_header as header
from STEnhanceLib.acquisition import acquired_spectrum as spectrum
from STEnhanceLib.acquisition.acquired_spectrum import NATIVE, Edge
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

ALIKE = 0.05  # header and images agree, as shares
SHOWN = "shown"  # the user says that nothing was interpolated
SMALLEST = 8  # samples along an axis
TELLING = 64  # pixels along both axes, below which a spectrum has too few samples to tell


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

    @property
    def interpolated(self) -> bool:
        """More is shown than was measured."""
        return self.measured_ji != self.shown_ji

    def window(self) -> np.ndarray:
        """(measured_j, measured_i) float32: what the filter left of every frequency; 0 in corners that were cut."""
        separable = np.outer(self.window_j, self.window_i)
        return separable * _within_corners(self.measured_ji) if self.corners_cut else separable

    def line(self) -> str:
        """One line for the user, columns × rows as on a scanner."""
        shown, measured = (f"{ji[1]} × {ji[0]}" for ji in (self.shown_ji, self.measured_ji))
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


def estimate(sequence: ImageSequence, wanted: str = "") -> Acquired:
    """Find out what was measured.

    Args:
        sequence: magnitude, signed or complex images.
        wanted: empty to find out; "shown" where nothing was interpolated; or the measured matrix as the user knows it,
            columns × rows, "224x160".

    Raises:
        STEnhanceError: `wanted` is neither, or larger than what is shown.
    """
    shown = tuple(sequence.frames.shape[-2:])
    if wanted.strip():
        return _as_wanted(sequence, _wanted(wanted, shown))
    made_finer = sequence.attributes.get("STEnhance.Task") == "super-resolution"
    if made_finer:
        method = sequence.attributes.get("STEnhance.MethodTitle", "a method of STEnhance")
        note = f"{method} made this grid, not the scanner; it counts as measured."
        return replace(_acquired(shown, shown, (NATIVE, NATIVE)), notes=(note,))
    return _found(sequence)


def _found(sequence: ImageSequence) -> Acquired:
    shown = tuple(sequence.frames.shape[-2:])
    read, notes = header.readings(sequence.attributes, shown, sequence.grid.spacing_mm[1::-1])
    if min(shown) < TELLING:
        return replace(_acquired(shown, shown, (NATIVE, NATIVE)), notes=notes)
    log_power, taper = spectrum.mean_log_power(spectrum.some_images(sequence))
    edges = tuple(spectrum.find_edge(spectrum.profile(log_power, taper, axis)) for axis in (0, 1))
    edges = tuple(edge if edge.sure else NATIVE for edge in edges)
    from_images = tuple(edge.share * size for edge, size in zip(edges, shown, strict=True))
    measured, source = from_images, "images"
    if read:
        best = min(read, key=lambda each: _distance(each.ji, from_images))
        if _distance(best.ji, from_images) <= ALIKE:
            measured, source = best.ji, "header and images"
        else:
            notes += (
                f"The header says {_matrix(best.ji)}, the images show {_matrix(from_images)}. "
                "The images were followed.",
            )
    return replace(
        _acquired(shown, tuple(round(n) for n in measured), edges),
        source=source,
        sureness=min(_sureness(edge) for edge in edges),
        notes=notes,
    )


def _acquired(shown: tuple[int, int], measured: tuple[int, int], edges: tuple[Edge, Edge]) -> Acquired:
    windows = []
    for size, kept, edge in zip(shown, measured, edges, strict=True):
        share = np.abs(np.fft.fftfreq(kept)) * 2 * kept / size
        windows.append(edge.window(share).clip(0.05, 1).astype(np.float32))
    plain = Acquired(shown, measured, *windows, False, "", float("nan"), np.ones(measured, np.float32), "none", 0.0)
    power = plain.window() ** 2
    return replace(plain, noise_spectrum=power / power.mean())


def _as_wanted(sequence: ImageSequence, measured: tuple[int, int]) -> Acquired:
    shown = tuple(sequence.frames.shape[-2:])
    return replace(_acquired(shown, measured, (NATIVE, NATIVE)), source="user", sureness=1.0)


def _wanted(text: str, shown: tuple[int, int]) -> tuple[int, int]:
    """(J, I) of "columns x rows"."""
    if text.strip().lower() == SHOWN:
        return shown
    match = re.fullmatch(r"\s*(\d+)\s*[x×*, ]\s*(\d+)\s*", text, re.IGNORECASE)
    measured = (int(match[2]), int(match[1])) if match else (0, 0)
    if not all(SMALLEST <= n <= most for n, most in zip(measured, shown, strict=True)):
        raise STEnhanceError(
            f"The measured matrix was given as {text.strip()!r}; expected columns × rows such as "
            f"{shown[1]}x{shown[0]}, each at least {SMALLEST} and at most what is shown, or {SHOWN!r} where "
            "nothing was interpolated."
        )
    return measured


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(abs(a / b - 1) for a, b in zip(one, other, strict=True))


def _matrix(ji: tuple[float, float]) -> str:
    return f"{ji[1]:.0f} × {ji[0]:.0f}"


def _sureness(edge: Edge) -> float:
    return float(np.clip(1 - edge.misfit / max(edge.misfit_native, 1e-9), 0, 1)) if edge.sure else 0.5


def _within_corners(shape: tuple[int, int]) -> np.ndarray:
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) * 2 for n in shape), indexing="ij"))
    return (radius <= 1.1).astype(np.float32)
