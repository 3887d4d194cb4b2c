"""Simulated receiver coils, and the smooth phase that magnitude images have lost."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.sequence import Grid

RING_RADIUS = 1.5  # distance of the coils from the centre, in halves of the field of view


def birdcage_sensitivities(grid: Grid, coils: int = 8) -> np.ndarray:
    """Coils on a ring around the stack, each with the 1/r fall-off of a wire and its own rotating phase.

    The ring lies in the plane of the middle slice, so slices further out see the coils from further away.

    Returns:
        (K, C, J, I) complex64, root-sum-of-squares 1 in every voxel.

    References:
        Hayes et al., J Magn Reson 1985; 63:622-628 (birdcage). The closed form in common use is that of the Michigan
        image reconstruction toolbox.
    """
    slices, rows, columns = grid.shape
    j = (np.arange(rows) - rows // 2) / (rows / 2)
    i = (np.arange(columns) - columns // 2) / (columns / 2)
    half_field_mm = columns * grid.spacing_mm[0] / 2
    k = (np.arange(slices) - (slices - 1) / 2) * grid.spacing_mm[2] / half_field_mm
    angle = 2 * np.pi * np.arange(coils).reshape(-1, 1, 1) / coils
    along_i = i[None, None, :] - RING_RADIUS * np.cos(angle)
    along_j = j[None, :, None] - RING_RADIUS * np.sin(angle)
    in_plane = along_i**2 + along_j**2
    phase = np.exp(1j * (np.arctan2(along_i, -along_j) - angle))
    sensitivities = phase / np.sqrt(in_plane + (k**2)[:, None, None, None])
    return (sensitivities / np.linalg.norm(sensitivities, axis=1, keepdims=True)).astype(np.complex64)


def smooth_phase(grid: Grid, seed: int) -> np.ndarray:
    """A phase as field inhomogeneity leaves it: a few random slow waves per slice, constant in time.

    Without it the k-space of a magnitude image would be conjugate symmetric, and half of the samples would be enough.

    Returns:
        (K, J, I) complex64 of magnitude 1; the phase stays within about ±π/2.
    """
    random = np.random.default_rng((seed, 1))
    slices, rows, columns = grid.shape
    j, i = np.linspace(-1, 1, rows)[None, :, None], np.linspace(-1, 1, columns)[None, None, :]
    phase = np.zeros((slices, rows, columns))
    for _ in range(4):
        turns_j, turns_i = random.uniform(-1, 1, (2, 1, 1, 1))
        start = random.uniform(0, 2 * np.pi) + random.normal(0, 0.1, (slices, 1, 1))
        phase += np.pi / 4 * np.cos(np.pi * (turns_j * j + turns_i * i) + start)
    return np.exp(1j * phase).astype(np.complex64)
