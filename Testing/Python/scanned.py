"""Scans whose acquisition is known: what a scanner makes of ideal images, up to interpolated magnitudes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired_edge import FERMI, SHARP, TUKEY, fades_at, filter_of
from STEnhanceLib.acquisition.noise import complex_noise, noise_std
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import ImageSequence

WITHIN = 0.55  # share of a cine's own matrix that is cropped: well inside of what its scanner measured
FILTERS = {"sharp or Fermi": (SHARP, FERMI), "Hann or Tukey": ("Hann", TUKEY), "native": (SHARP,)}


class Scan(NamedTuple):
    """How a scan was made.

    Attributes:
        measured_ji, shown_ji: matrices.
        family, shape: of the filter along both axes, see `acquired_edge.filter_of`.
        percent: noise, see `noise.noise_std`, per real and imaginary part before the filter.
        radial: the filter depends on the distance from the centre, not on both axes by themselves.
        cut: no samples in the corners.
        phase: the object has a smooth phase.
        rounded: to whole numbers, as files are.
    """

    measured_ji: tuple[int, int]
    shown_ji: tuple[int, int]
    family: str = SHARP
    shape: tuple[float, ...] = ()
    percent: float = 0.0
    radial: bool = False
    cut: bool = False
    phase: bool = False
    rounded: bool = False

    def support(self) -> tuple[float, float]:
        """(J, I) samples up to where the filter falls to a tenth."""
        return tuple(n * fades_at(self.family, self.shape) for n in self.measured_ji)

    def window(self) -> np.ndarray:
        """(J', I') amplitude of the filter on the measured matrix, in the order of the transform."""
        j, i = np.meshgrid(*(np.abs(np.fft.fftfreq(n)) * 2 for n in self.measured_ji), indexing="ij")
        by_axes = filter_of(self.family, self.shape, j) * filter_of(self.family, self.shape, i)
        window = filter_of(self.family, self.shape, np.hypot(j, i)) if self.radial else by_axes
        return window * (np.hypot(j, i) < 1.1) if self.cut else window


def scanned(ideal: np.ndarray, scan: Scan, random: np.random.Generator, magnitude: bool = True) -> ImageSequence:
    """What a scanner shows of ideal images (T, K, J, I), with voxels of 1 mm and 30 ms per frame."""
    images = centre_crop.crop(ideal, scan.measured_ji).astype(np.complex64)
    std = noise_std(images, scan.percent)
    if scan.phase:
        j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in scan.measured_ji), indexing="ij")
        terms = np.stack([np.ones_like(j), j, i, j * i, j**2, i**2])
        images = images * np.exp(1j * np.tensordot(random.normal(size=6), terms, 1)).astype(np.complex64)
    images = images + complex_noise(images.shape, std, random)
    filtered = np.fft.ifft2(np.fft.fft2(images) * scan.window()).astype(np.complex64)
    shown = centre_crop.zero_fill(filtered, scan.shown_ji)
    if magnitude:
        shown = np.abs(shown)
    if scan.rounded:
        shown = np.round(shown * (400 / np.percentile(np.abs(shown), 99.9)))
    frames = shown.astype(np.complex64 if np.iscomplexobj(shown) else np.float32)
    return ImageSequence(frames, np.diag([1.0, 1.0, 8.0, 1.0]), 30.0 * np.arange(len(frames)))


def some_scan(kind: str, n: int, limit_ji: tuple[int, int], random: np.random.Generator) -> Scan:
    """The n-th scan with a filter of one row of `FILTERS`, with matrices as a cine allows that ends at `limit_ji`.

    Ratios of measured to shown are 0.4 to 1 along each axis; native scans are shown as measured.
    """
    family, shape = FILTERS[kind][n % len(FILTERS[kind])], ()
    if family == FERMI:
        shape = (random.uniform(0.92, 1.05), random.uniform(0.02, 0.06))
    elif family != SHARP:
        family, shape = TUKEY, (1.0 if family == "Hann" else random.uniform(0.3, 0.8),)
    measured, shown = [], []
    for limit in limit_ji:
        ratio = 1.0 if kind == "native" or random.random() < 0.15 else random.uniform(0.4, 1.0)
        size = int(random.integers(72 if kind == "native" else 128, 193))
        small = min(round(ratio * size), int(random.integers(round(0.8 * limit), limit + 1)))
        measured.append(small)
        shown.append(round(small / ratio))
    percent = float(random.choice([0, 0.5, 1, 2, 3, 5]))
    radial, cut, phase, rounded = (bool(yes) for yes in random.random(4) < (0.5, 0.3, 0.7, 0.6))
    radial, cut = radial and family == FERMI, cut and kind != "native"
    return Scan(tuple(measured), tuple(shown), family, shape, percent, radial, cut, phase, rounded)


def thorax(seed: int, frames: int = 4, slices: int = 3) -> np.ndarray:
    """(T, K, 256, 256) of the phantom in a breath-hold, neighbouring frames."""
    patient = Thorax(seed=seed, breathing_mm=0.0)
    return patient.cine(24, 256, slices).frames[:frames]
