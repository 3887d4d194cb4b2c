"""Coil sensitivities from the measurement itself, for scans that come without a calibration."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import torch

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.operators import slice_operators

NOTE = "The coil maps were estimated (adaptive combination of the time average), as none came with the measurement."
KEPT = 0.5  # of k-space along each axis: finer details are mostly noise, and coils have none
NEIGHBOURHOOD = 5  # pixels; wide enough to average noise away, small compared to how fast coils change
POWER_STEPS = 12


def estimate(kspace: KSpace) -> np.ndarray:
    """Adaptive combination: what one moving neighbourhood sees alike in all coils is their sensitivity there.

    All frames together measure (nearly) every line or enough spokes, so their average shows each coil's image with few
    artefacts. In a small neighbourhood the products of these images between coils have one strong eigenvector, the
    sensitivities. Its phase is free; it is chosen so that the sum of the coils, weighted as they see the whole slice,
    is real: smooth wherever that sum has signal. Images reconstructed with these maps have the phase of that sum.

    Args:
        kspace: the coil maps in it are not used.

    Returns:
        (K, C, J, I) complex64, root-sum-of-squares 1 everywhere, also where there is noise alone.

    References:
        Walsh, Gmitro, Marcellin: Adaptive reconstruction of phased array MR imagery. Magn Reson Med 2000; 43:682-690.
    """
    found = np.empty((kspace.grid.shape[0], kspace.coils, *kspace.grid.shape[1:]), np.complex64)
    alone = torch.ones(1, *kspace.grid.shape[1:], dtype=torch.complex64)
    for index, (operator, samples) in enumerate(slice_operators(kspace, "cpu")):
        one_coil = operator.with_coils(alone)
        images = [one_coil.time_average(samples[:, coil : coil + 1]) for coil in range(kspace.coils)]
        found[index] = _sensitivities(_smooth(torch.stack(images)))
    return found


def _smooth(images: torch.Tensor) -> torch.Tensor:
    """(C, J, I) without the outer part of k-space, which fades out as a cosine."""
    for axis in (-2, -1):
        frequency = torch.fft.fftfreq(images.shape[axis]).abs() / (0.5 * KEPT)
        window = torch.cos(torch.pi / 2 * frequency.clamp_max(1)) ** 2
        window = window[:, None] if axis == -2 else window
        images = torch.fft.ifft(torch.fft.fft(images, dim=axis) * window, dim=axis)
    return images


def _sensitivities(images: torch.Tensor) -> np.ndarray:
    """(C, J, I) images of all coils to their sensitivities, by power iteration in every voxel at once."""
    images = (images / images.abs().max().clamp_min(torch.finfo(torch.float32).tiny)).numpy()  # fourth powers follow
    coils, *shape = images.shape
    products = np.empty((*shape, coils, coils), np.complex64)
    for first in range(coils):
        for second in range(first, coils):
            product = images[first] * images[second].conj()
            mean = _mean_around(product.real) + 1j * _mean_around(product.imag)
            products[..., first, second], products[..., second, first] = mean, mean.conj()
    whole = np.linalg.eigh(products.sum((0, 1)))[1][:, -1]
    vectors = np.linalg.norm(products, axis=-2).astype(np.complex64)[..., None]
    tiny = np.finfo(np.float32).tiny
    for _ in range(POWER_STEPS):
        vectors = products @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-2, keepdims=True), tiny)
    vectors = vectors[..., 0]
    in_the_sum = vectors @ whole.conj()
    vectors = vectors * np.exp(-1j * np.angle(in_the_sum))[..., None]
    seen = np.linalg.norm(vectors, axis=-1, keepdims=True) > 0.5
    vectors = np.where(seen, vectors, 1 / np.sqrt(coils))  # images that are 0 around a voxel say nothing
    return np.moveaxis(vectors, -1, 0)


def _mean_around(image: np.ndarray) -> np.ndarray:
    return scipy.ndimage.uniform_filter(image, NEIGHBOURHOOD, mode="wrap")
