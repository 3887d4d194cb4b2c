"""How well the measured matrix is found, on scans whose acquisition is known; and spectra of real cines as pictures.

    OMP_NUM_THREADS=1 python Testing/benchmarks/acquired_spectra.py
    OMP_NUM_THREADS=1 python Testing/benchmarks/acquired_spectra.py --pictures docs/screenshots

Scans are simulated from crops of the cines, well inside of what their scanners measured, and from the phantom.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "Python"))

from scanned import WITHIN, Scan, scanned, some_scan, thorax

from STEnhanceLib import files
from STEnhanceLib.acquisition import acquired, acquired_spectrum
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.cases import Case, find_cases

COUNTS = {"sharp or Fermi": 30, "Hann or Tukey": 12, "native": 40}
WITHIN_PERCENT = {"sharp or Fermi": 3.0, "Hann or Tukey": 8.0, "native": 0.0}
SEED = 5150  # nothing was tuned on it
# What the scanner of a cine measured of what it shows, (J, I): its header, or its spectrum, where that ends earlier.
MEASURED = {"preclinical_sax": (224, 160)}
PICTURES = ("preclinical_sax_3_slices", "scd0000301_1_slice")  # of the folder `dicom`, since headers matter
PHANTOM = "phantom"


def main() -> None:
    """The tables, or the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")) / "cine")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--pictures", type=Path, help="write the pictures into this folder instead")
    options = parser.parse_args()
    try:
        cases = {case.name: case for case in find_cases(options.data)}
        if options.pictures is not None:
            for name in PICTURES:
                folder = options.data.parent / "dicom" / name
                picture(files.read(folder), options.pictures / f"spectrum_{name}.png")
            return
        tables(cases, options.seed)
    except STEnhanceError as error:
        sys.exit(str(error))


def tables(cases: dict[str, Case], seed: int) -> None:
    """Print how many scans of each kind were read right, and the worst of each."""
    random = np.random.default_rng(seed)
    names = [*cases, PHANTOM]
    sources = {name: source(cases, name) for name in names}
    print("| filter | scans | found | median error | worst |\n|---|---|---|---|---|")
    missed = []
    for kind, count in COUNTS.items():
        errors = []
        for n in range(count):
            name = names[random.integers(len(names))]
            ideal, limit = sources[name]
            scan = some_scan(kind, n, limit, random)
            errors.append(error(scan, acquired.estimate(scanned(part(ideal, random), scan, random))))
            if errors[-1] > WITHIN_PERCENT[kind]:
                missed.append(f"{kind}, {errors[-1]:.1f} % off: {name}, {scan}")
        found = sum(each <= WITHIN_PERCENT[kind] for each in errors)
        print(
            f"| {kind} | {count} | {found} within {WITHIN_PERCENT[kind]:g} % | {np.median(errors):.1f} % "
            f"| {max(errors):.1f} % |",
            flush=True,
        )
    print("", *missed, sep="\n")


def source(cases: dict[str, Case], name: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Images that scans are made of, and the largest matrix that may be cropped from them."""
    if name == PHANTOM:
        return thorax(SEED), (140, 140)
    frames = cases[name].read().frames
    middle = frames.shape[1] // 2
    measured = MEASURED.get(name, frames.shape[-2:])
    return frames[:, middle - 2 : middle + 3], tuple(int(WITHIN * n) for n in measured)


def part(ideal: np.ndarray, random: np.random.Generator, frames: int = 4, slices: int = 3) -> np.ndarray:
    """Some neighbouring frames and slices."""
    t = random.integers(len(ideal) - frames + 1)
    k = random.integers(ideal.shape[1] - slices + 1)
    return ideal[t : t + frames, k : k + slices]


def error(scan: Scan, found: acquired.Acquired) -> float:
    """Percent by which the matrix is off, of the worse axis."""
    return max(100 * abs(got / true - 1) for got, true in zip(found.measured_ji, scan.support(), strict=True))


def picture(sequence, path: Path) -> None:
    """The mean log power, with the measured rectangle, and its profiles along both axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = acquired.estimate(sequence)
    seen = acquired_spectrum.spectra(sequence.frames)
    half = [n / 2 for n in found.measured_ji]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), constrained_layout=True)
    power = np.fft.fftshift(seen.mean) * 10 / np.log(10)
    j, i = (n / 2 for n in power.shape)
    low, high = np.percentile(power, (5, 99.5))
    left.imshow(power, cmap="magma", vmin=low, vmax=high, extent=(-i, i, j, -j))
    left.add_patch(plt.Rectangle((-half[1], -half[0]), 2 * half[1], 2 * half[0], fill=False, color="#4dd0e1", lw=1.5))
    left.set(xlabel="frequency along columns", ylabel="frequency along rows", title=found.line())
    left.title.set_fontsize(8)
    for axis, (name, colour) in enumerate((("rows", "#1565c0"), ("columns", "#d84315"))):
        line = acquired_spectrum.profile(seen.mean, seen.taper, axis).line * 10 / np.log(10)
        right.plot(line - line.max(), color=colour, label=f"along {name}")
        if found.measured_ji[axis] < found.shown_ji[axis]:
            right.axvline(half[axis], color=colour, ls=":")
    right.set(xlabel="frequency", ylabel="power in dB")
    right.legend(frameon=False)
    figure.savefig(path, dpi=64)
    print(path)


if __name__ == "__main__":
    main()
