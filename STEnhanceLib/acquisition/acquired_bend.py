"""A filter over images that were not interpolated: their spectrum bends down towards its end.

Where nothing was zero-filled, no edge tells of a filter. But the power of anatomy falls by a power law (Field, J Opt
Soc Am A 1987; 4:2379-2394), on a logarithmic scale along a line, which bends by so many decibels per octave: on 40
hearts at four resolutions by -5 to 1, median -2; with a raised cosine that lowers the edge by half by 4.6 more. What
lies beyond the natural range is taken for a filter, never more than that: a filter assumed where there is none costs
more than one that is overlooked.
"""

from __future__ import annotations

import functools

import numpy as np

NATURAL = -4.0  # dB per octave; nearly all images without a filter bend less
NATURAL_ALONE, FEW = -9.0, 3  # single slices bend more now and then, so where there are fewer, more is asked for
DEEPEST = 0.7  # by how much the edge may be lowered
LOW, MIDDLE = 0.1, 0.47  # shares of the edge: the line is fitted from the one to the other, and on to the edge
RINGS = 20
LEAST_PIXELS = 48


def raised_cosine(size: int, depth: float) -> np.ndarray:
    """(size,) float32 in the order of the transform: 1 at frequency 0, 1 - depth at the edge."""
    return (1 - depth * (1 - np.cos(2 * np.pi * np.fft.fftfreq(size))) / 2).astype(np.float32)


def depth_of_stack(images: np.ndarray) -> float:
    """What `depth` finds in three quarters of the slices of (T, K, J, I) or more: a scan filters all of them alike."""
    slices = images.swapaxes(0, 1)
    natural = NATURAL if len(slices) >= FEW else NATURAL_ALONE
    return float(np.quantile([depth(of_slice, natural) for of_slice in slices], 0.25, method="lower"))


def depth(images: np.ndarray, natural: float = NATURAL) -> float:
    """By how much a raised cosine along both axes lowered the edge of k-space, 0 … `DEEPEST`; 0 where none shows.

    Args:
        images: (..., J, I) that were not interpolated; the more, the surer.
        natural: dB per octave, as much as images without a filter may bend.
    """
    if min(images.shape[-2:]) < LEAST_PIXELS:
        return 0.0
    images = np.abs(images).reshape(-1, *images.shape[-2:])
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    taper = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in images.shape[-2:]))
    power = (np.abs(np.fft.fft2(centred * taper)) ** 2).mean(axis=0)
    if not power.any():
        return 0.0
    depths = np.linspace(0, DEEPEST, 15)
    # What a filter adds to the bend is nearly the same for all images.
    added = np.array([_added(images.shape[-2:], each) for each in depths])
    return float(np.interp(natural - _bend(power), -added, depths))


def _bend(power: np.ndarray) -> float:
    """How much steeper a (J, I) power falls towards its edge than before, dB per octave."""
    octaves, ring = _rings(power.shape)
    inside = ring >= 0
    count = np.bincount(ring[inside], minlength=RINGS)
    mean = np.bincount(ring[inside], power.ravel()[inside], RINGS)[count > 0] / count[count > 0]
    decibels, octaves = 10 * np.log10(np.maximum(mean, np.finfo(float).tiny)), octaves[count > 0]
    low = octaves < np.log2(MIDDLE)
    (high_slope, _), (low_slope, _) = (np.polyfit(octaves[part], decibels[part], 1) for part in (~low, low))
    return float(high_slope - low_slope)


@functools.lru_cache(maxsize=64)
def _added(shape_ji: tuple[int, int], lowered: float) -> float:
    octaves_power = np.exp2(-3 * _octaves(shape_ji))  # a power law, as of anatomy
    window = np.outer(*(raised_cosine(n, lowered) for n in shape_ji)) ** 2
    return _bend(octaves_power * window) - _bend(octaves_power)


def _octaves(shape_ji: tuple[int, int]) -> np.ndarray:
    """(J, I) log2 of the frequency, of which 0 is the edge."""
    radius = np.hypot(*np.meshgrid(*(2 * np.fft.fftfreq(n) for n in shape_ji), indexing="ij"))
    return np.log2(np.maximum(radius, 1 / max(shape_ji)))


@functools.lru_cache(maxsize=16)
def _rings(shape_ji: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(RINGS,) log2 of their frequency, and (J · I,) which of them each frequency belongs to; -1 for none."""
    octaves = _octaves(shape_ji).ravel()
    edges = np.linspace(np.log2(LOW), 0, RINGS + 1)
    ring = np.digitize(octaves, edges) - 1
    ring[(ring < 0) | (ring >= RINGS)] = -1
    inside = ring >= 0
    count = np.maximum(np.bincount(ring[inside], minlength=RINGS), 1)
    return np.bincount(ring[inside], octaves[inside], RINGS) / count, ring
