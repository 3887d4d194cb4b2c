"""What super-resolution makes of scans that are no plain crop of k-space: phase, noise, filters, block averages.

    OMP_NUM_THREADS=1 python Testing/benchmarks/imperfect_scans.py
    OMP_NUM_THREADS=1 python Testing/benchmarks/imperfect_scans.py --block-averages

Three middle slices of the two cines that trained nothing, every fourth frame scored: PSNR in dB, whole / heart.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.coils import smooth_phase
from STEnhanceLib.acquisition.noise import complex_noise, noise_std
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.protocols import middle_slices
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.methods.target_grid import BLOCK_AVERAGE
from STEnhanceLib.sequence import ImageSequence

CASES = ("scd0000301_sax", "preclinical_sax")
SLICES, EVERY, FACTOR = 3, 4, 4
LOWERED = 0.5  # by how much the filter lowers the edge of k-space

METHODS = {
    "zero-fill": ("zero-fill", {}),
    "EDSR": ("edsr", {}),
    "STEnhance-SR": ("stenhance-sr", {}),
    "… data consistency true": ("stenhance-sr", {"data_consistency": "true"}),
    "… data consistency false": ("stenhance-sr", {"data_consistency": "false"}),
    "… without neighbours": ("stenhance-sr", {"neighbours": False}),
}
METHODS_OF_BLOCKS = {
    "zero-fill": ("zero-fill", {}),
    "b-spline": ("b-spline", {}),
    "STEnhance-SR": ("stenhance-sr", {}),
    "… data consistency true": ("stenhance-sr", {"data_consistency": "true"}),
    "… data consistency false": ("stenhance-sr", {"data_consistency": "false"}),
}


class Scan(NamedTuple):
    """What is imperfect.

    Attributes:
        phase: the object has a smooth phase.
        noise_percent: of the 99.9th percentile, complex.
        lines: the share that partial Fourier measures; the others are zeros.
        filtered: a raised cosine lowers the edge of k-space by half, as scanners do against ringing.
        signed: no magnitude is taken; only for a scan without any of this.
    """

    phase: bool = False
    noise_percent: float = 0.0
    lines: float = 1.0
    filtered: bool = False
    signed: bool = False

    def of(self, good: ImageSequence) -> ImageSequence:
        """The images of a quarter of the matrix per axis that the scan gives."""
        slices, *shape_ji = good.grid.shape
        grid = good.grid.resampled((slices, *(n // FACTOR for n in shape_ji)))
        whole = good.frames * smooth_phase(good.grid, seed=0) if self.phase else good.frames
        small = centre_crop.crop(whole, grid.shape[1:])
        if not self.signed:
            std = noise_std(small, self.noise_percent)
            noisy = small + complex_noise(small.shape, std, np.random.default_rng(0))
            small = np.abs(np.fft.ifft2(np.fft.fft2(noisy) * self._kept(grid.shape[1:])))
        return ImageSequence.from_frames(small, grid)

    def _kept(self, shape_ji: tuple[int, int]) -> np.ndarray:
        along_j, along_i = (np.fft.fftfreq(n) for n in shape_ji)
        measured = (along_j <= self.lines - 0.5).astype(float)
        depth = LOWERED if self.filtered else 0.0
        cosine_j, cosine_i = (1 - depth * (1 - np.cos(2 * np.pi * f)) / 2 for f in (along_j, along_i))
        return np.outer(measured * cosine_j, cosine_i)


SCANS = {
    "plain crop, as in `s4`": Scan(signed=True),
    "its magnitude": Scan(),
    "smooth phase": Scan(phase=True),
    "noise 1 %": Scan(noise_percent=1),
    "noise 2 %": Scan(noise_percent=2),
    "noise 5 %": Scan(noise_percent=5),
    "partial Fourier 6/8": Scan(lines=6 / 8),
    "apodisation": Scan(filtered=True),
    "all, with noise 2 %": Scan(True, 2, 6 / 8, True),
}


def block_averaged(good: ImageSequence, factor: int) -> tuple[ImageSequence, ImageSequence]:
    """Means of factor × factor pixels, and the part of the sequence that whole blocks cover."""
    sizes = [n // factor for n in good.grid.shape[1:]]
    covered = good.frames[..., : sizes[0] * factor, : sizes[1] * factor]
    reference = replace(good, frames=covered)
    means = covered.reshape(*covered.shape[:2], sizes[0], factor, sizes[1], factor).mean(axis=(3, 5))
    centre = ((factor - 1) / 2, (factor - 1) / 2, 0)
    return ImageSequence.from_frames(means, reference.grid.resampled(means.shape[1:], centre)), reference


def measured(  # noqa: PLR0917  (what is given, what is asked, what counts)
    low: ImageSequence, reference: ImageSequence, key: str, settings: Mapping, scale: float, centre: tuple[float, float]
) -> str:
    """PSNR of the scored frames, whole / heart."""
    method = find_method(key)
    scored = np.arange(0, len(reference), EVERY)
    if key != "stenhance-sr":  # no other looks at neighbouring frames
        low, reference, scored = low.with_frames(scored), reference.with_frames(scored), None
    result = enhance_all(method, low, parse_parameters(method, settings))
    box = metrics.heart_box(centre, reference.grid.shape)
    scores = metrics.score(result, reference, box, scored, scale)
    return f"{scores.whole.means()['psnr']:.2f} / {scores.box.means()['psnr']:.2f}"


def main() -> None:
    """Print one table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")) / "cine")
    parser.add_argument("--block-averages", action="store_true", help="images of averaged pixels instead")
    options = parser.parse_args()

    methods = METHODS_OF_BLOCKS if options.block_averages else METHODS
    print(f"| case | images | {' | '.join(methods)} |")
    print(f"|---|---|{'---:|' * len(methods)}", flush=True)
    for case in sorted(find_cases(options.data, CASES), key=lambda case: CASES.index(case.name)):
        whole = replace(case.read(), periodic=True)
        scale, good = metrics.intensity_scale(whole), middle_slices(whole, SLICES)
        if options.block_averages:
            given = {f"blocks of {n}×{n}": (*block_averaged(good, n), n) for n in (2, 3, 4)}
        else:
            given = {name: (scan.of(good), good, FACTOR) for name, scan in SCANS.items()}
        for name, (low, reference, factor) in given.items():
            cells = []
            for key, own in methods.values():
                settings = {"factor": factor, **own}
                if options.block_averages:
                    settings["sampling"] = BLOCK_AVERAGE
                cells.append(measured(low, reference, key, settings, scale, case.facts["heart_centre_xy"]))
            print(f"| {case.name} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except STEnhanceError as error:
        sys.exit(str(error))
