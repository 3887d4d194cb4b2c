"""A planning scan as a prior: brought onto the grid of the result and to the brightness of the images."""

from __future__ import annotations

import itertools
import math

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.learned import brightness
from STEnhanceLib.sequence import Grid, ImageSequence

LEAST_COVERED = 0.9
CLOSE_MM = 1e-3
AS_LARGE = 0.05  # of a voxel, up to which one counts as being of the same size
EDGE = 12  # voxels by which the edge is repeated, so that splines do not oscillate there
COARSE = 0.9  # of the pixels of the images, above which a prior is of little use
UNLIKE = 0.7  # correlation; frames of one cine have 0.95 and more, different patients less than 0.4


def prepared(prior: ImageSequence, sequence: ImageSequence, grid: Grid) -> tuple[np.ndarray, list[str]]:
    """The prior where the result will lie, as bright as the first frame of the images.

    Args:
        prior: one frame on any grid; its magnitude counts.
        sequence: the images to enhance.
        grid: of the result.

    Returns:
        (K, J, I) float32, 0 where the prior does not reach, and notes on what was done.

    Raises:
        STEnhanceError: the prior covers too little of the field of view, or is dark there.
    """
    notes = [f"The prior was {prior.name}."] if prior.name else []
    if len(prior) > 1:
        notes.append(f"The prior has {len(prior)} frames; the first one was used.")
    own, wanted = (min(images.grid.spacing_mm[:2]) for images in (prior, sequence))
    if own > COARSE * wanted:
        notes.append(f"The prior has pixels of {own:.3g} mm, the images of {wanted:.3g} mm: it adds hardly any detail.")
    voxels = np.abs(prior.frames[0])
    if prior.grid.shape != grid.shape or not np.allclose(prior.ijk_to_ras, grid.ijk_to_ras, atol=CLOSE_MM):
        voxels, matrix = _no_finer_than(min(grid.spacing_mm[:2]), voxels, prior.grid)
        places = _places_in_a_voxel(grid.ijk_to_ras, matrix)
        voxels, covered = _moved(voxels, np.linalg.inv(matrix) @ grid.ijk_to_ras, grid.shape, places)
        if covered < LEAST_COVERED:
            raise STEnhanceError(
                f"The prior covers {100 * covered:.0f} % of the field of view; expected at least "
                f"{100 * LEAST_COVERED:.0f} %. Pick a scan of the same region, or leave the prior out where it is "
                "optional."
            )
        beyond = "" if covered == 1 else f"; it covers {100 * covered:.1f} % of the field of view"
        averaged = ", averaged over its voxels" if len(places) > 1 else ""
        notes.append(f"The prior was interpolated onto the grid of the result{averaged}{beyond}.")
    if not voxels.any():
        raise STEnhanceError("The prior is 0 all over the field of view; expected a scan with signal. Pick another.")
    coarse = centre_crop.crop(voxels, sequence.grid.shape[1:])  # without the detail that the images lack
    factor = brightness(sequence.frames[0]) / brightness(coarse)
    likeness = _correlation(coarse, np.abs(sequence.frames[0]))
    if likeness < UNLIKE:
        notes.append(
            f"The prior hardly resembles the first frame (correlation {likeness:.2f}), which can make results worse "
            "than none: check that it shows the same anatomy at the same place with the same contrast."
        )
    notes.append(f"The prior was multiplied by {factor:.4g} to match the brightness of the first frame.")
    return voxels * np.float32(factor), notes


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, over all voxels; 1 where one of them has no structure to compare."""
    one, other = (images.astype(np.float64) for images in (one, other))  # squares may exceed float32
    one, other = one - one.mean(), other - other.mean()
    norm = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.vdot(one, other) / norm) if norm else 1.0


def _no_finer_than(spacing_mm: float, voxels: np.ndarray, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of at least this size, since finer detail would fold back on the grid of the result.

    Returns:
        (K, J', I') magnitude of a smaller matrix, and its (4, 4) ijk_to_ras.
    """
    old = source.shape[1:]
    size = [
        min(n, math.ceil(n * own / spacing_mm - 1e-6)) for n, own in zip(old, source.spacing_mm[1::-1], strict=True)
    ]
    step_j, step_i = np.divide(old, size)
    return centre_crop.crop(voxels, tuple(size)), source.ijk_to_ras @ np.diag([step_i, step_j, 1.0, 1.0])


def _places_in_a_voxel(wanted: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Where finer voxels have to be looked up so that their mean stands for a larger one.

    Along each axis of the larger voxel the places lie about as close as the finer ones, and so that the profile of a
    finer voxel, averaged over them, is as wide as that of the larger (its variance; exact for whole ratios).

    Args:
        wanted, own: (4, 4) ijk_to_ras of the larger and of the finer voxels.

    Returns:
        (N, 3) offsets from the centre in the order (k, j, i), in larger voxels; only the centre where none is finer.
    """
    along_each = []
    for side in wanted[:3, 2::-1].T:
        own_mm = np.linalg.norm(own[:3, :3].T @ side) / np.linalg.norm(side)
        finer = np.linalg.norm(side) / own_mm
        count = max(1, math.ceil(finer - AS_LARGE))
        step = math.sqrt((1 - finer**-2) / (count**2 - 1)) if count > 1 else 0
        along_each.append(step * (np.arange(count) - (count - 1) / 2))
    return np.array(list(itertools.product(*along_each)))


def _moved(
    voxels: np.ndarray, to_prior: np.ndarray, shape: tuple[int, int, int], places: np.ndarray
) -> tuple[np.ndarray, float]:
    """Cubic interpolation at other places, and the share of them that lie within the voxels.

    Args:
        voxels: (K, J, I).
        to_prior: (4, 4) from the (i, j, k) of the result to that of `voxels`.
        shape: of the result.
        places: (N, 3) within a voxel of the result, over which to average.
    """
    from scipy import ndimage

    matrix, offset = to_prior[2::-1, 2::-1], to_prior[2::-1, 3]  # in the order (k, j, i)
    spline, moved = ndimage.spline_filter(np.pad(voxels, EDGE, "edge"), mode="nearest"), np.zeros(shape, np.float32)
    for place in places:
        start = offset + matrix @ place + EDGE
        moved += ndimage.affine_transform(
            spline, matrix, start, shape, np.float32, order=3, mode="nearest", prefilter=False
        )
    moved /= len(places)
    # A slice reaches half its thickness beyond its centre. In-plane an image from the Fourier transform has no edge
    # before its next sample, which would be the first one again. 1e-6 is for what rounding does to aligned edges.
    reach = np.array([0.5, 1, 1])[:, None, None] + 1e-6
    last = np.subtract(voxels.shape, 1)[:, None, None]
    covered = 0
    in_plane = np.einsum("xy,yji->xji", matrix[:, 1:], np.indices(shape[1:], np.float64)) + offset[:, None, None]
    for k, plane in enumerate(moved):
        where = in_plane + k * matrix[:, 0, None, None]
        inside = ((where >= -reach) & (where <= last + reach)).all(axis=0)
        plane[~inside] = 0
        covered += np.count_nonzero(inside)
    return np.maximum(moved, 0), covered / moved.size
