"""What scanners do to a good image: matrix, phase, noise, filter, partial Fourier, magnitude, interpolation.

Each sample comes as the method hands it to the network: on the grid on which it was measured, the filter undone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.training.degradation import partial_fourier, small_matrix, smooth_phase

LOWEST = 0.1  # of a filter: beyond, its inverse would multiply what is not signal by more than ten
MOST_INTERPOLATED = 2.0


class Scan(NamedTuple):
    """One anatomy, scanned.

    Attributes:
        low: (C, j, i) float32 on the measured grid, the filter undone.
        shown: (C, J, I) the images as a scanner gives them, unfiltered scans only; zeros of that shape for others.
        noise: standard deviation per channel that the network is told, in units of the images.
        edges: to what share the filter had lowered the edge of k-space along J and I, as the network is told.
        exact: `shown` are the plain crop or its magnitude, so that a result may be held to them exactly.
    """

    low: torch.Tensor
    shown: torch.Tensor
    noise: float
    edges: tuple[float, float]
    exact: bool


def matrix(rng: np.random.Generator, shape_ji: tuple[int, int]) -> tuple[int, int]:
    """A matrix that is measured: a quarter per axis most often, else 1/5 … 1, now and then uneven."""
    return small_matrix(rng, shape_ji, (0.5, 0.1, 0.15), 1.5)


def shown_matrix(rng: np.random.Generator, measured: tuple[int, int], shape_ji: tuple[int, int]) -> tuple[int, int]:
    """To what a scanner interpolates: not at all, or to up to twice the matrix and at most the truth's."""
    if rng.random() < 0.5:
        return measured
    factor = rng.uniform(1, MOST_INTERPOLATED)
    return tuple(min(n, max(m, round(m * factor))) for n, m in zip(shape_ji, measured, strict=True))


def scanned(
    images: torch.Tensor, measured: tuple[int, int], shown: tuple[int, int], rng: np.random.Generator, perfect: bool
) -> Scan:
    """Scan (C, J, I) images, all of them alike.

    Args:
        images: the truth; its brightness is about 1.
        measured, shown: matrices.
        rng: decides.
        perfect: neither phase nor noise nor filter.
    """
    if perfect:
        seen = resample(resample(images, measured), shown)
        if rng.random() < 0.5:
            seen = seen.abs()
        return Scan(resample(seen, measured), seen, 0.0, (1.0, 1.0), True)
    spectrum = torch.fft.fft2(_with_phase(resample(images, measured), measured, rng))
    noise = float(np.exp(rng.uniform(np.log(0.002), np.log(0.06)))) if rng.random() < 0.8 else 0.0
    spectrum = spectrum + _coloured(noise, spectrum.shape, rng)
    if rng.random() < 0.2:
        axis = int(rng.integers(2))
        spectrum = spectrum * partial_fourier(rng, measured[axis]).view((-1, 1) if axis == 0 else (1, -1))
    filtered = rng.random() < 0.5
    window = _window(rng, measured) if filtered else torch.ones(measured)
    seen = resample(torch.fft.ifft2(spectrum * window), shown).abs()
    guessed = window ** float(rng.uniform(0.8, 1.1))  # whoever estimates it errs
    low = torch.fft.ifft2(torch.fft.fft2(resample(seen, measured)) / guessed.clamp_min(LOWEST)).real
    edges = tuple(float(guessed[at].clamp_min(LOWEST)) for at in ((measured[0] // 2, 0), (0, measured[1] // 2)))
    told = noise * float(rng.uniform(0.8, 1.25))
    return Scan(low.contiguous(), torch.zeros_like(seen), told, edges, False)


def _with_phase(images: torch.Tensor, shape_ji: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    # The phase of a crop is the crop of the phase as far as it is smooth.
    phase = smooth_phase(rng, shape_ji, 0.0)
    return torch.polar(torch.ones_like(phase), phase) * images


def _coloured(std: float, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Spectra of complex noise; in a quarter of the scans stronger in one part, as after parallel imaging."""
    parts = torch.from_numpy(rng.standard_normal((2, *shape)).astype(np.float32)) * std
    noise = torch.complex(parts[0], parts[1])
    if rng.random() < 0.25:
        coarse = torch.from_numpy(rng.uniform(0.5, 1.8, (1, 1, 3, 3)).astype(np.float32))
        noise = noise * functional.interpolate(coarse, shape[-2:], mode="bicubic", align_corners=True)[0]
    return torch.fft.fft2(noise)


def _window(rng: np.random.Generator, shape_ji: tuple[int, int]) -> torch.Tensor:
    """(j, i) a filter against ringing, in the order of the Fourier transform; at least about `LOWEST` at the edges.

    Where a filter falls lower, the measured matrix is taken to end: an estimate could not tell what lies beyond.
    """
    j, i = (torch.from_numpy(np.abs(2 * np.fft.fftfreq(n)).astype(np.float32)) for n in shape_ji)  # 0 … 1 at the edge
    kind = int(rng.integers(4))
    if kind < 2:  # Fermi, round or along each axis
        width = float(rng.uniform(0.02, 0.12))
        radius = float(rng.uniform(1 - 2.2 * width, 1.05))
        if kind == 0:
            return 1 / (1 + ((torch.hypot(j[:, None], i[None]) - radius) / width).clamp_max(20).exp())
        along_j, along_i = (1 / (1 + ((f - radius) / width).clamp_max(20).exp()) for f in (j, i))
    elif kind == 2:  # Tukey; Hann where all of it is tapered
        share = float(rng.uniform(0.2, 1))
        tapered = (((1 - 0.2 * share) * f - 1) / share + 1 for f in (j, i))
        along_j, along_i = ((1 + (np.pi * x.clamp(0, 1)).cos()) / 2 for x in tapered)
    else:  # a raised cosine that lowers the edge in part
        depth = float(rng.uniform(0.1, 0.9))
        along_j, along_i = (1 - depth * (1 - (np.pi * f).cos()) / 2 for f in (j, i))
    return torch.outer(along_j, along_i)
