"""How exactly late gradients are found, and what they cost with and without correction.

    OMP_NUM_THREADS=1 python Testing/benchmarks/gradient_delays.py
    OMP_NUM_THREADS=1 python Testing/benchmarks/gradient_delays.py --images

The middle slice of the two cines that trained nothing, 20 frames of 13 golden-angle spokes, 8 coils. The first table
has the delays beside those of `bart estdelay` where BART is installed (Debian package `bart`), the second PSNR in dB,
whole / heart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from STEnhanceLib.acquisition import delays, simulate
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.noise import complex_noise
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.protocols import find_protocol, middle_slices
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.sequence import ImageSequence

CASES = ("scd0000301_sax", "preclinical_sax")
PLANTED = ((0, 0, 0), (0.5, 0.5, 0), (0.7, 0.2, 0.1), (0.3, 1.2, 0), (1.5, 1.5, 0))
DRIFT_DEGREES = 10.0
MORE_NOISE_PERCENT = 5.0
BART = {"RING (`-R -r 3`)": ("-R", "-r", "3"), "AC-adaptive": ()}  # by itself RING looks at half the region
METHODS = ("xt-yt", "temporal-tv")


def matrix(rows: float, columns: float, across: float) -> np.ndarray:
    """See `delays.Delays.late`."""
    return np.array([[rows, across], [across, columns]])


def by_bart(kspace: KSpace, options: Sequence[str]) -> np.ndarray:
    """The delays (2, 2) of the first slice by `bart estdelay`."""
    spokes = kspace.trajectory.reshape(-1, *kspace.trajectory.shape[2:])
    cycles = spokes[..., ::-1] * np.array(kspace.grid.shape[:0:-1]) / (2 * np.pi)  # along i and j, per field of view
    samples = kspace.samples[:, 0].swapaxes(1, 2).reshape(len(spokes), kspace.coils, -1)
    with tempfile.TemporaryDirectory() as folder:
        given = [f"{folder}/trajectory", f"{folder}/samples"]
        _write(given[0], np.pad(cycles, ((0, 0), (0, 0), (0, 1))).transpose(2, 1, 0))
        _write(given[1], samples.transpose(2, 0, 1)[None])
        command = ["bart", "estdelay", *options, *given]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout
    rows, columns, across = (-float(number) for number in told.split(":"))
    return matrix(rows, columns, across)


def _write(name: str, array: np.ndarray) -> None:
    """Of BART: sizes of 16 dimensions, and single complex numbers with the first dimension fastest."""
    sizes = [*array.shape, *[1] * (16 - array.ndim)]
    Path(f"{name}.hdr").write_text(f"# Dimensions\n{' '.join(map(str, sizes))}\n", encoding="utf-8")
    array.astype(np.complex64).ravel("F").tofile(f"{name}.cfl")


def scans(good: ImageSequence):
    """Name, truth and measurement."""
    for planted in PLANTED:
        late = matrix(*planted)
        kspace = simulate.simulate(good, "r13", late=late).kspace
        yield "1 % noise", late, kspace
        if planted == PLANTED[3]:
            random = np.random.default_rng(0)
            more = kspace.noise_std * (MORE_NOISE_PERCENT**2 - 1) ** 0.5
            yield (
                "5 % noise",
                late,
                replace(kspace, samples=kspace.samples + complex_noise(kspace.samples.shape, more, random)),
            )
            drift = np.deg2rad(DRIFT_DEGREES) * random.standard_normal((len(good), 1, 1, kspace.samples.shape[3], 1))
            turned = kspace.samples * np.exp(1j * drift)
            yield f"1 % noise, phases that wander by {DRIFT_DEGREES:.0f}°", late, replace(kspace, samples=turned)


def found_table(case: str, good: ImageSequence) -> None:
    """Rows of what was planted and found: rows / columns / across."""
    for name, late, kspace in scans(good):
        start = time.perf_counter()
        found = delays.find(kspace).late
        seconds = time.perf_counter() - start
        cells = [_words(late), f"{_words(found)} ({seconds:.2f} s)"]
        for options in BART.values() if shutil.which("bart") else ():
            start = time.perf_counter()
            found = by_bart(kspace, options)
            cells.append(f"{_words(found)} ({time.perf_counter() - start:.1f} s)")
        print(f"| {case} | {name} | {' | '.join(cells)} |", flush=True)


def _words(late: np.ndarray) -> str:
    return " / ".join(f"{round(float(late[part]), 3) + 0:.3f}" for part in delays.PARTS)


def image_table(case, whole: ImageSequence, keys: Sequence[str]) -> None:
    """PSNR of the methods on r13, and on r13d without and with correction."""
    scale, good = metrics.intensity_scale(whole), middle_slices(whole, 1)
    box = metrics.heart_box(case.facts["heart_centre_xy"], good.grid.shape)
    for key in keys:
        method, cells = find_method(key), []
        for protocol, corrected in (("r13", False), ("r13", True), ("r13d", False), ("r13d", True)):
            trial = find_protocol(protocol).trial(good)
            settings = parse_parameters(method, {"delays": corrected})
            result = enhance_all(method, trial.degraded, settings, **trial.inputs)
            scores = metrics.score(result, trial.reference, box, trial.scored, scale)
            cells.append(f"{scores.whole.means()['psnr']:.2f} / {scores.box.means()['psnr']:.2f}")
        print(f"| {case.name} | {key} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print one table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")) / "cine")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--images", action="store_true", help="what delays cost instead")
    parser.add_argument("--methods", default=",".join(METHODS), help="of the images")
    options = parser.parse_args()

    names = options.cases.split(",")
    cases = sorted(find_cases(options.data, names), key=lambda case: names.index(case.name))
    if options.images:
        heads = ["case", "method", "r13, as the file says", "r13", "r13d, as the file says", "r13d"]
    else:
        theirs = [f"BART {name}" for name in BART] if shutil.which("bart") else []
        heads = ["case", "scan", "planted", "found", *theirs]
    print(f"| {' | '.join(heads)} |\n|---|---|{'---:|' * (len(heads) - 2)}", flush=True)
    for case in cases:
        whole = replace(case.read(), periodic=True)
        if options.images:
            image_table(case, whole, options.methods.split(","))
        else:
            found_table(case.name, middle_slices(whole, 1))


if __name__ == "__main__":
    try:
        main()
    except STEnhanceError as error:
        sys.exit(str(error))
