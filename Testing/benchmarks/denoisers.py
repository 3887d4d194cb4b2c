"""Frequency-split denoising beside what others use: MP-PCA, NORDIC and non-local means.

    pip install -e ".[peers]"
    OMP_NUM_THREADS=1 python Testing/benchmarks/denoisers.py

The middle slice of the two cines that trained nothing, all frames: PSNR in dB and SSIM, whole / heart. The others are
told the noise that was added. Those that are not installed are left out.

MP-PCA (Veraart et al., NeuroImage 2016; 142:394-406) and NORDIC (Moeller et al., NeuroImage 2021; 226:117539) are those
of patch-denoise, on the magnitude of all frames of patches of 10 × 10 and 6 × 6 pixels, two apart. Non-local means
(Buades et al., CVPR 2005) is that of scikit-image, on each frame together with the two before and after, patches of 3³
in a window of 5³. Patch, threshold and filter strength are the best of those tried on scd0000301.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired import estimate
from STEnhanceLib.acquisition.noise import noise_std
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.protocols import find_protocol
from STEnhanceLib.methods import find_method, measured_grid, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.sequence import ImageSequence

CASES = ("scd0000301_sax", "preclinical_sax")
PROTOCOLS = ("n5", "ni5")
PERCENT = 5  # noise of both
PCA_PATCH, PCA_THRESHOLD = 10, 1.3
NORDIC_PATCH = 6
STEP = 2  # pixels from patch to patch; patches that do not end at the edge would leave it NaN
AROUND, FILTER = 2, 0.4  # frames before and after; strength in units of the noise

Denoiser = Callable[[ImageSequence, float], ImageSequence]


def ours(denoiser: str) -> Denoiser:
    """Frequency-split as it comes; it finds the noise by itself."""
    method = find_method("frequency-split")
    return lambda noisy, _std: enhance_all(method, noisy, parse_parameters(method, {"denoiser": denoiser}))


def _slice_by_slice(noisy: ImageSequence, denoised: Callable[[np.ndarray], np.ndarray]) -> ImageSequence:
    slices = [denoised(noisy.frames[:, k]) for k in range(noisy.grid.shape[0])]
    return replace(noisy, frames=np.stack(slices, axis=1).astype(np.float32))


def _low_rank(function: Callable, patch: int, **settings) -> Callable[[np.ndarray], np.ndarray]:
    """(T, J, I) to the same; the edge is mirrored by as much as whole patches need."""

    def denoised(frames: np.ndarray) -> np.ndarray:
        count, rows, columns = frames.shape
        more = [(0, -(n - patch) % STEP) for n in (rows, columns)]
        series = np.pad(frames, ((0, 0), *more), "reflect").transpose(1, 2, 0)[:, :, None].astype(np.float64)
        shape, overlap = (patch, patch, 1, count), (patch - STEP, patch - STEP, 0, 0)
        result = function(np.ascontiguousarray(series), shape, overlap, mask_threshold=0, **settings)[0]
        return result[:rows, :columns, 0].transpose(2, 0, 1)

    return denoised


def mp_pca(noisy: ImageSequence, _std: float) -> ImageSequence:
    """Finds the noise by itself."""
    from patch_denoise.denoise import mp_pca as function

    return _slice_by_slice(noisy, _low_rank(function, PCA_PATCH, threshold_scale=PCA_THRESHOLD))


def nordic(noisy: ImageSequence, std: float) -> ImageSequence:
    """Its threshold is drawn at random, within a per cent or so."""
    from patch_denoise.denoise import nordic as function

    return _slice_by_slice(noisy, _low_rank(function, NORDIC_PATCH, noise_std=std))


def non_local_means(noisy: ImageSequence, std: float) -> ImageSequence:
    """In space and time; the cycle closes."""
    from skimage.restoration import denoise_nl_means

    def denoised(frames: np.ndarray) -> np.ndarray:
        closed = np.concatenate([frames[-AROUND:], frames, frames[:AROUND]])
        settings = {"patch_size": 3, "patch_distance": 2, "h": FILTER * std, "sigma": std, "fast_mode": True}
        parts = (closed[t : t + 2 * AROUND + 1] for t in range(len(frames)))
        return np.stack([denoise_nl_means(part, **settings)[AROUND] for part in parts])

    return _slice_by_slice(noisy, denoised)


def where_measured(denoiser: Denoiser) -> Denoiser:
    """The same, on the grid of the measurement."""

    def denoised(noisy: ImageSequence, std: float) -> ImageSequence:
        acquired = estimate(noisy)
        small = measured_grid.on_measured_grid(noisy, acquired)
        frames = [centre_crop.zero_fill(frame, acquired.shown_ji) for frame in denoiser(small, std).frames]
        return replace(noisy, frames=np.stack(frames))

    return denoised


PEERS: dict[str, tuple[str, Denoiser]] = {
    "MP-PCA": ("patch_denoise", mp_pca),
    "NORDIC": ("patch_denoise", nordic),
    "non-local means": ("skimage", non_local_means),
}


def denoisers() -> dict[str, Denoiser]:
    """By the name of their row; says which are left out."""
    found: dict[str, Denoiser] = {
        "noisy images": lambda noisy, _std: noisy,
        "frequency-split, network": ours("network"),
        "frequency-split, classical": ours("classical"),
    }
    for name, (package, denoiser) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"{name} is left out, since {package} is not installed; `pip install -e .[peers]`.", file=sys.stderr)
            continue
        found[name] = denoiser
        found[f"{name}, on the measured grid"] = where_measured(denoiser)
    return found


def main() -> None:
    """Print one table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")) / "cine")
    options = parser.parse_args()

    os.environ["TQDM_DISABLE"] = "1"  # progress bars of patch-denoise
    cases = sorted(find_cases(options.data, CASES), key=lambda case: CASES.index(case.name))
    contestants = denoisers()
    print("| protocol | case | denoiser | PSNR, whole / heart | SSIM, whole / heart |")
    print("|---|---|---|---:|---:|", flush=True)
    for case in cases:
        good = case.read()
        scale, std = metrics.intensity_scale(good), noise_std(good.frames, PERCENT)
        for protocol in PROTOCOLS:
            trial = case.spoil(find_protocol(protocol), good, 1)
            box = metrics.heart_box(case.facts["heart_centre_xy"], good.grid.shape)
            for name, denoiser in contestants.items():
                if protocol == "n5" and "measured grid" in name:  # the grid that is shown
                    continue
                scores = metrics.score(denoiser(trial.degraded, std), trial.reference, box, None, scale)
                whole, heart = scores.whole.means(), scores.box.means()
                psnr, ssim = (f"{whole[key]:.{n}f} / {heart[key]:.{n}f}" for key, n in (("psnr", 2), ("ssim", 3)))
                print(f"| {protocol} | {case.name} | {name} | {psnr} | {ssim} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except STEnhanceError as error:
        sys.exit(str(error))
