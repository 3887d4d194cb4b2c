"""What a fast scan does to a good image: k-space crop with phase, noise, partial Fourier and filtering."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib.acquisition.centre_crop_torch import resample

IMPERFECT = 0.15  # share of the scans that are not a plain crop


class Degraded(NamedTuple):
    """Images of low resolution.

    Attributes:
        images: (C, j, i) float32.
        faithful: the images are the plain crop, so a result may be held to them exactly.
    """

    images: torch.Tensor
    faithful: bool


def small_matrix(
    rng: np.random.Generator,
    shape_ji: tuple[int, int],
    shares: tuple[float, float, float] = (0.6, 0.1, 0.2),
    least: float = 2.0,
) -> tuple[int, int]:
    """A matrix that a fast scan would measure: a quarter per axis most often, else 1/2 … 1/5, now and then uneven.

    Args:
        rng: decides.
        shape_ji: of the truth.
        shares: of a quarter per axis, of a half, and of anything that is even; the rest is uneven.
        least: the smallest even factor.
    """
    kind = rng.random()
    quarter, half, even = np.cumsum(shares)
    if kind < quarter:
        factors = (4.0, 4.0)
    elif kind < half:
        factors = (2.0, 2.0)
    elif kind < even:
        factors = (rng.uniform(least, 5),) * 2
    else:
        factors = tuple(rng.uniform(1, 5, 2))
    return tuple(max(8, round(n / f)) for n, f in zip(shape_ji, factors, strict=True))


def degraded(
    images: torch.Tensor, shape_ji: tuple[int, int], rng: np.random.Generator, perfect: bool | None = None
) -> Degraded:
    """Scan (C, J, I) images with a smaller matrix, all of them alike; by default imperfect now and then."""
    if perfect is None:
        perfect = rng.random() > IMPERFECT
    if perfect:
        return Degraded(resample(images, shape_ji), True)
    spectrum = images
    if rng.random() < 0.6:
        phase = smooth_phase(rng, images.shape[-2:], 0.2)
        parts = torch.cat([images * phase.cos(), images * phase.sin()])
        real, imaginary = resample(parts, shape_ji).chunk(2)
        spectrum = torch.fft.fft2(torch.complex(real, imaginary))
        magnitude = True
    else:
        spectrum = torch.fft.fft2(resample(images, shape_ji))
        magnitude = False
    if rng.random() < 0.25:
        spectrum = spectrum * partial_fourier(rng, shape_ji[0])[:, None]
        magnitude = True
    if rng.random() < 0.25:
        spectrum = spectrum * _apodisation(rng, shape_ji)
    small = torch.fft.ifft2(spectrum)
    noise = rng.uniform(0, 0.02) * torch.from_numpy(rng.standard_normal((2, *small.shape)).astype(np.float32))
    small = small + torch.complex(noise[0], noise[1])
    return Degraded(small.abs() if magnitude else small.real, False)


def smooth_phase(rng: np.random.Generator, shape_ji: tuple[int, int], least: float) -> torch.Tensor:
    """(1, J, I) radians, between ± a strength that is drawn from `least` … π."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (1, 1, 4, 4)).astype(np.float32)) * float(rng.uniform(least, np.pi))
    return functional.interpolate(coarse, shape_ji, mode="bicubic", align_corners=True)[0]


def partial_fourier(rng: np.random.Generator, lines: int) -> torch.Tensor:
    """(lines,) zeros for the last lines of one half of k-space, after 5/8 to 7/8 of all; else ones."""
    measured = np.fft.fftfreq(lines) <= rng.uniform(5 / 8, 7 / 8) - 0.5
    return torch.from_numpy(measured.astype(np.float32))


def _apodisation(rng: np.random.Generator, shape_ji: tuple[int, int]) -> torch.Tensor:
    """A raised cosine that lowers the edge of k-space by up to half, as scanners do against ringing."""
    depth = rng.uniform(0, 0.5)
    windows = [1 - depth * (1 - np.cos(2 * np.pi * np.fft.fftfreq(n))) / 2 for n in shape_ji]
    return torch.from_numpy(np.outer(*windows).astype(np.float32))
