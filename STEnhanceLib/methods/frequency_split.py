"""Frequency-split denoising: the discrete cosine transform splits each slice, and only the high band is denoised.

Contrast and shading live in the low band, noise mostly in the high one. The denoiser here is a classical one: each
8×8 block of the high band, together with the same block one frame earlier and later, is transformed by the cosine
transform, coefficients below a multiple of the noise level are removed, and overlapping blocks are averaged.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.sequence import ImageSequence

BLOCK = 8  # pixels along each edge
STRIDE = 2  # pixels from one block to the next: 16 blocks cover each pixel
THRESHOLD = 2.5  # noise levels below which a coefficient counts as noise, at strength 1


@dataclass(frozen=True)
class FrequencySplitParameters:
    """How much noise to remove, and from where."""

    strength: float = parameter(
        1.0, "How much is removed: 0 nothing, 1 what looks like noise, 2 also fine texture.", minimum=0.0, maximum=2.0
    )
    low_band: float = parameter(
        0.1,
        "The part of the frequency range, from zero up, that is never touched; larger keeps more texture and noise.",
        minimum=0.02,
        maximum=0.5,
    )
    noise_level: float | None = parameter(
        None, "Standard deviation of the noise in units of the image; estimated from the images if unset.", minimum=0.0
    )


def enhance(sequence: ImageSequence, parameters: FrequencySplitParameters) -> Enhancement:
    """Denoise the high band of each slice, frame by frame.

    Raises:
        STEnhanceError: the slices are smaller than one block.
    """
    _, height, width = sequence.grid.shape
    if min(height, width) < BLOCK:
        raise STEnhanceError(
            f"Slices of {width}×{height} were given; expected at least {BLOCK}×{BLOCK} pixels for frequency-split."
        )
    magnitude = sequence.magnitude()
    noise = parameters.noise_level
    notes = ["The result could not be checked against the measurement, because only images were given."]
    if noise is None:
        noise = noise_level(magnitude[np.linspace(0, len(magnitude) - 1, min(3, len(magnitude))).astype(int)])
        notes.append(f"The standard deviation of the noise was estimated as {noise:.4g} in units of the image.")
    if np.iscomplexobj(sequence.frames):
        notes.append("The images are complex; their magnitude was denoised.")
    return Enhancement(sequence.grid, _frames(magnitude, sequence.periodic, parameters, noise), tuple(notes))


def noise_level(frames: np.ndarray) -> float:
    """Standard deviation of the noise, from differences along the diagonal of 2×2 pixels; frames are (..., J, I).

    The median absolute deviation is taken over the brighter half of the image: in air the noise of a magnitude image
    is Rayleigh distributed and weaker.
    """
    height, width = frames.shape[-2] // 2 * 2, frames.shape[-1] // 2 * 2
    a, b = frames[..., 0:height:2, 0:width:2], frames[..., 0:height:2, 1:width:2]
    c, d = frames[..., 1:height:2, 0:width:2], frames[..., 1:height:2, 1:width:2]
    brightness = a + b + c + d
    bright = brightness >= np.median(brightness)
    return float(np.median(np.abs(a - b - c + d)[bright]) / 2 / 0.6745)


def high_band(shape_ji: tuple[int, int], low_band: float) -> np.ndarray:
    """The weight of each cosine frequency in the high band: 0 up to `low_band`, 1 from twice that; (J, I) float32."""
    j, i = (np.arange(n) / n for n in shape_ji)
    above = np.clip(np.hypot(j[:, None], i) / low_band - 1, 0, 1)
    return np.sin(np.pi / 2 * above).astype(np.float32) ** 2


def _frames(
    measured: np.ndarray, periodic: bool, parameters: FrequencySplitParameters, noise: float
) -> Iterator[EnhancedFrame]:
    weight = high_band(measured.shape[-2:], parameters.low_band)
    threshold = parameters.strength * THRESHOLD * noise

    @functools.lru_cache(maxsize=3)
    def high(t: int) -> np.ndarray:
        return _filtered(measured[t], weight)

    for t, frame in enumerate(measured):
        around = [t + step for step in (-1, 0, 1) if periodic or 0 <= t + step < len(measured)]
        centre = around.index(t)
        bands = np.stack([high(n % len(measured)) for n in around], axis=1)  # (K, 3, J, I)
        noise_found = np.stack([band[centre] - _without_noise(band, centre, threshold) for band in bands])
        # Thresholding leaks into the low frequencies; the same weight keeps that out of the result.
        yield EnhancedFrame(frame - _filtered(noise_found, weight), float("nan"))


def _filtered(frame: np.ndarray, weight: np.ndarray) -> np.ndarray:
    import scipy.fft

    spectrum = scipy.fft.dctn(frame, axes=(-2, -1), norm="ortho", workers=-1)
    return scipy.fft.idctn(weight * spectrum, axes=(-2, -1), norm="ortho", workers=-1)


def _without_noise(band: np.ndarray, centre: int, threshold: float) -> np.ndarray:
    """Hard thresholding of overlapping space-time blocks; (n, J, I) to the denoised frame `centre`, (J, I)."""
    import scipy.fft

    count, height, width = band.shape
    margin = BLOCK - 1  # every pixel, also at the edge, lies in as many blocks
    padded = np.pad(band, ((0, 0), (margin, margin + height % STRIDE), (margin, margin + width % STRIDE)), "reflect")
    blocks = sliding_window_view(padded, (BLOCK, BLOCK), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    spectrum = scipy.fft.dctn(blocks, axes=(0, 3, 4), norm="ortho", workers=-1)
    kept = np.abs(spectrum) > threshold
    spectrum *= kept
    # A block that needs few coefficients holds little noise, so it counts for more.
    trust = (1 / np.maximum(kept.sum(axis=(0, 3, 4)), 1)).astype(np.float32)
    to_centre = scipy.fft.idct(np.eye(count, dtype=np.float32), axis=0, norm="ortho")[centre]
    cleaned = scipy.fft.idctn(np.tensordot(to_centre, spectrum, axes=1), axes=(2, 3), norm="ortho", workers=-1)
    total, weights = np.zeros((2, *padded.shape[1:]), np.float32)
    rows, columns = trust.shape
    for j in range(BLOCK):
        for i in range(BLOCK):
            covered = np.s_[j : j + STRIDE * rows : STRIDE, i : i + STRIDE * columns : STRIDE]
            total[covered] += trust * cleaned[:, :, j, i]
            weights[covered] += trust
    inside = np.s_[margin : margin + height, margin : margin + width]
    return total[inside] / weights[inside]


METHOD = Method(
    key="frequency-split",
    title="Frequency-split denoising",
    task=Task.ARTEFACT_REDUCTION,
    summary="Removes noise from the fine detail of images and leaves contrast and shading alone; needs no k-space.",
    parameters=FrequencySplitParameters,
    enhance=enhance,
    reference="After Uetani et al.: A preliminary study of deep learning-based reconstruction specialized for "
    "denoising in high-frequency domain. Neuroradiology 2021; 63:63-71; here with a classical denoiser.",
    baseline=True,
    rank=30,
)
