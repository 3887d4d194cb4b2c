"""Scores of a result against its reference, in strict mode.

The 99.9th percentile of the *reference* sequence is 1, for reference and result alike: the result's own range never
matters. Nothing is padded, and a result that does not lie on the reference's grid is refused, never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from STEnhanceLib.acquisition import noise
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid, ImageSequence

HEART_BOX = 96  # pixels per side
SSIM_WINDOW = 7  # pixels per side
GEOMETRY_TOLERANCE_MM = 1e-3
TIME_TOLERANCE_MS = 1e-3


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Metrics of every scored frame, each (T,) float64; their means are what tables show.

    Attributes:
        psnr: 10 log10(1 / mean squared error) in dB; infinite where a frame equals its reference.
        ssim: mean structural similarity, see `ssim`; NaN where a slice is smaller than its window.
        nrmse: Euclidean norm of the error over that of the reference; NaN where the reference is all zero.
        mae: mean absolute error, with the 99.9th percentile of the reference as 1.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    nrmse: np.ndarray
    mae: np.ndarray

    def means(self) -> dict[str, float]:
        """The mean over the frames of each metric, by its name; for PSNR see `mean_psnr`."""
        return {name: float(np.mean(values)) for name, values in vars(self).items()} | {"psnr": mean_psnr(self.psnr)}

    @property
    def identical(self) -> int:
        """How many frames equal their reference, which the mean PSNR leaves out."""
        return int(np.isposinf(self.psnr).sum())


def mean_psnr(psnr) -> float:
    """The mean over the frames that differ from their reference, in dB; infinite where none does.

    One frame that equals its reference would else make the mean of all infinite, and hide the others.
    """
    psnr = np.asarray(psnr, dtype=np.float64)
    differs = ~np.isposinf(psnr)
    return float(psnr[differs].mean()) if differs.any() else float("inf")


def identical_words(name: str, identical: int, count: int) -> str:
    """What is to be said beside a mean PSNR that leaves frames out; empty where it leaves out none."""
    if not identical:
        return ""
    equal = f"{identical} of {count} frames {'equals' if identical == 1 else 'equal'} the reference"
    return f"{name}: {equal}" + ("; PSNR is the mean of the others." if identical < count else ".")


@dataclass(frozen=True, eq=False)
class Scores:
    """What `score` measured.

    Attributes:
        whole: over whole frames.
        box: over the heart box only; None where no box was given.
        frames: (T,) the indices of the frames of the reference that were scored.
        scale: the 99.9th percentile of the reference, the intensity that counts as 1.
    """

    whole: FrameScores
    box: FrameScores | None
    frames: np.ndarray
    scale: float


def score(
    result: ImageSequence,
    reference: ImageSequence,
    box: tuple[slice, slice] | None = None,
    frames=None,
    scale: float | None = None,
) -> Scores:
    """Compare a result with its reference, frame by frame.

    Args:
        result: on the grid and at the times of `reference`; magnitudes are compared.
        reference: sets the scale, with all its frames.
        box: rows and columns (j, i) of the heart box, see `heart_box`.
        frames: indices of the frames to score; None for all.
        scale: the 99.9th percentile of the whole sequence, where `reference` is only a part of it.

    Raises:
        STEnhanceError: the two differ in matrix, geometry (1e-3 mm) or times (1e-3 ms), or the reference is empty.
    """
    check_same_grid(result.grid, reference.grid)
    indices = np.arange(len(reference)) if frames is None else np.asarray(frames, dtype=int)
    reference_voxels, result_voxels = reference.magnitude(), result.magnitude()
    scale = intensity_scale(reference) if scale is None else scale
    if not len(indices) or scale <= 0:
        raise STEnhanceError(
            f"{len(indices)} frames of a reference whose 99.9th percentile is {scale:g} were to be scored; expected at "
            "least one frame and a reference that is not black."
        )
    inside = (slice(None), *box) if box is not None else None
    whole, boxed = [], []
    for index in indices:
        truth = reference_voxels[index].astype(np.float64) / scale
        image = result_voxels[index].astype(np.float64) / scale
        whole.append(_score_frame(image, truth))
        if box is not None:
            boxed.append(_score_frame(image[inside], truth[inside]))
    return Scores(_stack(whole), _stack(boxed) if boxed else None, indices, scale)


def intensity_scale(reference: ImageSequence) -> float:
    """The 99.9th percentile of the magnitudes of a sequence: the intensity that counts as 1."""
    return noise.intensity_scale(reference.frames)


def heart_box(centre_xy: tuple[float, float], shape: tuple[int, int, int]) -> tuple[slice, slice]:
    """The 96×96 pixels around the heart, clipped at the borders of the image.

    Args:
        centre_xy: (i, j) voxel index of the centre, column first as in `cine.json`.
        shape: (K, J, I) of a frame.

    Returns:
        rows and columns, to index the last two axes.

    Raises:
        STEnhanceError: the centre lies outside the image.
    """
    i, j = (round(c) for c in centre_xy)
    if not (0 <= j < shape[1] and 0 <= i < shape[2]):
        raise STEnhanceError(
            f"The heart's centre (x, y) = ({i}, {j}) lies outside the image of {shape[2]}×{shape[1]} pixels; expected "
            "voxel indices of this image. Correct heart_centre_xy."
        )
    half = HEART_BOX // 2
    return (
        slice(max(0, j - half), min(shape[1], j + half)),
        slice(max(0, i - half), min(shape[2], i + half)),
    )


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity of 2D slices (Wang et al., IEEE Trans Image Process 2004).

    A 7×7 uniform window, sample (co)variances (divided by 48, not 49), K1 = 0.01, K2 = 0.03, data range 1. Only windows
    that lie entirely within the slice count, so no border is ever made up; scikit-image has the same convention.

    Args:
        image, reference: (K, J, I) with data range 1.

    Returns:
        the mean over windows and slices; NaN where a slice is smaller than the window.
    """
    from scipy.ndimage import uniform_filter

    if min(image.shape[1:]) < SSIM_WINDOW:
        return float("nan")
    inside = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)

    def local_mean(values):
        return uniform_filter(values, (1, SSIM_WINDOW, SSIM_WINDOW))[:, inside, inside]

    mean_x, mean_y = local_mean(image), local_mean(reference)
    variances = sample * (local_mean(image**2 + reference**2) - mean_x**2 - mean_y**2)
    covariance = sample * (local_mean(image * reference) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))))


def _score_frame(image: np.ndarray, truth: np.ndarray) -> tuple[float, float, float, float]:
    error = image - truth
    squared, energy = float(np.mean(error**2)), float(np.mean(truth**2))
    psnr = -10 * np.log10(squared) if squared else float("inf")
    nrmse = np.sqrt(squared / energy) if energy else float("nan")
    return psnr, ssim(image, truth), nrmse, float(np.mean(np.abs(error)))


def _stack(rows: list[tuple[float, float, float, float]]) -> FrameScores:
    return FrameScores(*np.array(rows, dtype=np.float64).T)


def check_same_grid(result: Grid, reference: Grid) -> None:
    """Refuse a result that cannot be measured against the reference, as `score` does."""
    if result.shape != reference.shape or len(result) != len(reference):
        raise STEnhanceError(
            f"The result has {_size(result)}, the reference {_size(reference)}; expected the same. Enhance to the "
            "reference's matrix and times (factor or matrix, number of frames), or give the matching reference."
        )
    last = np.subtract(result.shape[::-1], 1)
    corners = np.array([(*(last * corner), 1) for corner in np.ndindex(2, 2, 2)]).T
    apart = float(np.linalg.norm((result.ijk_to_ras - reference.ijk_to_ras)[:3] @ corners, axis=0).max())
    if apart > GEOMETRY_TOLERANCE_MM:
        raise STEnhanceError(
            f"The result lies up to {apart:.3g} mm off the reference's grid; expected the same origin, spacing and "
            f"directions within {GEOMETRY_TOLERANCE_MM} mm. Give the reference that belongs to this result."
        )
    late = float(np.abs(result.times_ms - reference.times_ms).max())
    if late > TIME_TOLERANCE_MS:
        raise STEnhanceError(
            f"The frames of the result lie up to {late:.3g} ms off those of the reference; expected the same times "
            f"within {TIME_TOLERANCE_MS} ms. Interpolate to the reference's times."
        )


def _size(grid: Grid) -> str:
    k, j, i = grid.shape
    return f"{len(grid)} frames of {i}×{j}×{k} voxels"
