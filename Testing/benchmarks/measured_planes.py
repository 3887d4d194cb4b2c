"""How well thinner slices predict planes that were measured at right angles to them, in the same heart.

    OMP_NUM_THREADS=1 python Testing/benchmarks/measured_planes.py
    OMP_NUM_THREADS=1 python Testing/benchmarks/measured_planes.py --bands
    OMP_NUM_THREADS=1 python Testing/benchmarks/measured_planes.py --left-out

Every pixel of the long-axis planes is looked up, linearly, in the short-axis stack; frames are matched by number.
`whole` is the normalised cross-correlation of both; `detail` that of what only finer slices can show, wavelengths of 5
to 10 mm along the stack, both smoothed by 2 mm across. Blur raises the first and not the second. `--bands` tells the
same of longer wavelengths, after cubic interpolation, and the error of position that would explain how it falls.
`--left-out` leaves every second slice of each cine out and predicts it from the others: PSNR in dB.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.signal.windows import tukey

from STEnhanceLib import files
from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.motion import between_slices
from STEnhanceLib.sequence import Grid, ImageSequence

PLANES = "planes/preclinical_lax_even.nii.gz"
STACK = "cine/preclinical_sax.nii.gz"
FRAMES = range(5, 10)
FEWEST_PIXELS = 500
BAND, RAMP = (0.09, 0.21), 0.02  # 1/mm, where a ramp begins and ends
BANDS = ((0.01, 0.05), (0.03, 0.07), (0.05, 0.09), (0.07, 0.11), (0.09, 0.14))
ACROSS_MM = 2.0


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Normalised cross-correlation."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def detail(picture: np.ndarray, spacing: tuple[float, float], band: tuple[float, float] = BAND) -> np.ndarray:
    """Some wavelengths along the first axis of an (N, M) picture, that is smoothed across it; by default 5 to 10 mm."""
    low, high = band
    picture = ndimage.gaussian_filter1d(picture, ACROSS_MM / spacing[1], axis=1)
    picture = (picture - picture.mean(axis=0)) * tukey(len(picture), 0.3)[:, None]
    frequency = np.fft.rfftfreq(len(picture), spacing[0])[:, None]
    passed = np.clip(np.minimum(frequency - low, high - frequency) / RAMP, 0, 1)
    return np.fft.irfft(np.fft.rfft(picture, axis=0) * passed, len(picture), axis=0)


class MeasuredPlanes:
    """Planes to predict, one by one.

    Args:
        planes: measured at right angles to the stack, by the same numbers of frames.
        grid: of the stack.
    """

    def __init__(self, planes: ImageSequence, grid: Grid):
        self.planes = planes.frames
        axis = grid.ijk_to_ras[:3, 2] / grid.spacing_mm[2]
        spacing = np.array(planes.grid.spacing_mm[:2])
        along = int(np.abs(planes.ijk_to_ras[:3, :2].T @ axis / spacing).argmax())  # 0 for i, 1 for j
        self.turned, self.spacing = along == 0, (spacing[along], spacing[1 - along])
        to_stack = np.linalg.inv(grid.ijk_to_ras) @ planes.ijk_to_ras
        j, i = np.mgrid[: planes.grid.shape[1], : planes.grid.shape[2]]
        self.places = {}
        for k in range(planes.grid.shape[0]):
            place = np.tensordot(to_stack, np.stack([i, j, np.full_like(i, k), np.ones_like(i)]), 1)[2::-1]  # (k, j, i)
            inside = ((place >= 0) & (place <= np.array(grid.shape)[:, None, None] - 1)).all(axis=0)
            if inside.sum() >= FEWEST_PIXELS:
                rows, columns = (np.flatnonzero(inside.any(axis=n)) for n in (1, 0))
                box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                self.places[k] = place, inside, box

    def agreement(self, frames: np.ndarray, number: int, bands=(BAND,)) -> list[tuple[float, ...]]:
        """`whole` and `detail` of every plane.

        Args:
            frames: (K, J, I), one frame of the stack.
            number: which.
            bands: of `detail`, one after the other.
        """
        found = []
        for k, (place, inside, box) in self.places.items():
            seen, there = ndimage.map_coordinates(frames, place, order=1), self.planes[number, k]
            fine = [
                correlation(*(detail(self._upright(picture[box]), self.spacing, band) for picture in (seen, there)))
                for band in bands
            ]
            found.append((correlation(seen[inside], there[inside]), *fine))
        return found

    def _upright(self, picture: np.ndarray) -> np.ndarray:
        return picture.T if self.turned else picture


def by_method(key: str, **settings) -> Callable[[ImageSequence], ImageSequence]:
    """A method as it makes a sequence from another."""
    method = find_method(key)
    return lambda sequence: enhance_all(method, sequence, parse_parameters(method, settings))


def by_matrix(along_slices: Callable, factor: float) -> Callable[[ImageSequence], ImageSequence]:
    """An interpolation of `thick_slices` as it makes a sequence with thinner slices from another."""

    def thinner(sequence: ImageSequence) -> ImageSequence:
        matrix = sequence.ijk_to_ras @ np.diag([1, 1, 1 / factor, 1])
        return replace(sequence, frames=along_slices(sequence.frames, factor), ijk_to_ras=matrix)

    return thinner


def contestants() -> dict[str, Callable[[ImageSequence], ImageSequence]]:
    """What makes thinner slices, by the names of rows."""
    cubic, held, sr = thick_slices.interpolated, thick_slices.start, "stenhance-sr"
    twice = {"factor": 1.0, "slice_factor": 2.0, "acquired": "shown"}  # pixels stay as they are
    aligned, cubic_twice = by_method("align-slices"), by_matrix(cubic, 2)
    return {
        "slices as they are": lambda sequence: sequence,
        "cubic ×2": cubic_twice,
        "cubic ×4": by_matrix(cubic, 4),
        "cubic ×2, held to a Gaussian profile": by_matrix(held, 2),
        "slices aligned (`align-slices`), cubic ×2": lambda sequence: cubic_twice(aligned(sequence)),
        "STEnhance-SR ×2": by_method(sr, **twice),
        "… as if slices lay where they should (`position_error_mm` 0)": by_method(sr, position_error_mm=0, **twice),
        "… along structures alone (`position_error_mm` 20)": by_method(sr, position_error_mm=20, **twice),
        "… slices aligned first (`align`)": by_method(sr, align=True, **twice),
        "STEnhance-SR ×4": by_method(sr, factor=1.0, slice_factor=4.0, acquired="shown"),
    }


def print_planes(data: Path) -> None:
    """One row per contestant."""
    whole = files.read(data / STACK)
    stack = whole.with_frames(range(FRAMES[0] - 1, FRAMES[-1] + 2))  # with neighbours
    planes = files.read(data / PLANES)
    print("| slices | whole | detail |\n|---|---:|---:|", flush=True)
    for name, thinner in contestants().items():
        result = thinner(stack)
        measured = MeasuredPlanes(planes, result.grid)
        found = [measured.agreement(result.frames[n + 1], number) for n, number in enumerate(FRAMES)]
        print("| {} | {:.4f} | {:+.4f} |".format(name, *np.mean(found, axis=(0, 1))), flush=True)


def print_bands(data: Path) -> None:
    """One row per band, then the error of position."""
    stack = by_matrix(thick_slices.interpolated, 2)(files.read(data / STACK).with_frames(FRAMES))
    measured = MeasuredPlanes(files.read(data / PLANES), stack.grid)
    found = [measured.agreement(frame, t, BANDS) for frame, t in zip(stack.frames, FRAMES, strict=True)]
    agreement = np.mean(found, axis=(0, 1))[1:]
    print("| wavelengths, mm | correlation |\n|---|---:|")
    for (low, high), each in zip(BANDS, agreement, strict=True):
        print(f"| {1 / (high - RAMP / 2):.0f}–{1 / (low + RAMP / 2):.0f} | {each:.2f} |")
    squared = (2 * np.pi * np.mean(BANDS, axis=1)) ** 2
    print(f"\nAn error of {np.sqrt(-np.polyfit(squared, np.log(agreement), 1)[0]):.1f} mm would explain how it falls.")


def print_left_out(data: Path) -> None:
    """One row per cine, of its frames at the start, at a third, and at two thirds."""
    print("| cine | linear | cubic | along structures |\n|---|---:|---:|---:|", flush=True)
    for case in find_cases(data / "cine"):
        cine = case.read()
        scale, kept = metrics.intensity_scale(cine), slice(0, (cine.grid.shape[0] - 1) // 2 * 2 + 1)
        errors = []
        for frame in cine.magnitude()[:: -(-len(cine) // 3), kept]:
            known, left_out = frame[::2] / np.float32(scale), frame[1::2] / np.float32(scale)
            between = np.arange(len(left_out)) + 0.5
            predicted = (
                (known[:-1] + known[1:]) / 2,
                thick_slices.interpolated(known, 2)[1::2],
                between_slices.interpolated(known, between, cine.grid.spacing_mm[:2], "cpu"),
            )
            errors.append([np.mean((each - left_out) ** 2) for each in predicted])
        psnr = -10 * np.log10(np.mean(errors, axis=0))
        print(f"| {case.name} | {' | '.join(f'{each:.2f}' for each in psnr)} |", flush=True)


def main() -> None:
    """Print one table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")))
    parser.add_argument("--bands", action="store_true", help="the agreement by wavelength")
    parser.add_argument("--left-out", action="store_true", help="slices that are left out, instead of planes")
    options = parser.parse_args()
    printed = print_left_out if options.left_out else print_bands if options.bands else print_planes
    printed(options.data)


if __name__ == "__main__":
    try:
        main()
    except STEnhanceError as error:
        sys.exit(str(error))
