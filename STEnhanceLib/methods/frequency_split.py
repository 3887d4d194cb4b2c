"""Frequency-split denoising: the discrete cosine transform splits each slice, and only the high band is denoised.

Contrast and shading live in the low band, noise mostly in the high one. What a denoiser takes for noise in the high
band is filtered with the same weight before it is removed, so the low band stays as it is whatever the denoiser does.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import band_thresholds, learned
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.frequency_bands import filtered, high_band, noise_level
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.sequence import ImageSequence

MODEL = "frequency-split"
AUTOMATIC, NETWORK, CLASSICAL = "automatic", "network", "classical"
PACKAGES = ("torch", "safetensors")  # of the network


@dataclass(frozen=True)
class FrequencySplitParameters:
    """How much noise to remove, from where, and by what."""

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
    denoiser: str = parameter(
        AUTOMATIC,
        "What tells noise from detail: a trained network, or thresholds of cosine coefficients (classical); automatic "
        "takes the network where torch is installed.",
        choices=(AUTOMATIC, NETWORK, CLASSICAL),
    )


def enhance(sequence: ImageSequence, parameters: FrequencySplitParameters) -> Enhancement:
    """Denoise the high band of each slice, frame by frame.

    Raises:
        STEnhanceError: the slices are smaller than one block, the noise is said to be brighter than the images, or the
            network is wanted and torch is missing.
    """
    _, height, width = sequence.grid.shape
    if min(height, width) < band_thresholds.BLOCK:
        raise STEnhanceError(
            f"Slices of {width}×{height} were given; expected at least 8×8 pixels for frequency-split."
        )
    magnitude = sequence.magnitude()
    _check_level(parameters.noise_level, magnitude)
    notes = ["The result could not be checked against the measurement, because only images were given."]
    by_network = _is_by_network(parameters.denoiser, notes)
    noise = parameters.noise_level
    if noise is None:
        noise = noise_level(magnitude[np.linspace(0, len(magnitude) - 1, min(3, len(magnitude))).astype(int)])
        notes.append(f"The standard deviation of the noise was estimated as {noise:.4g} in units of the image.")
    if np.iscomplexobj(sequence.frames):
        notes.append("The images are complex; their magnitude was denoised.")
    frames = _frames(magnitude, sequence.periodic, parameters, noise, by_network=by_network, notes=notes)
    return Enhancement(sequence.grid, frames, notes, (MODEL,) if by_network else ())


def _check_level(level: float | None, magnitude: np.ndarray) -> None:
    """A network that is told of more noise than it has ever seen adds some."""
    if level and magnitude.any() and level > (bright := learned.brightness(magnitude)):
        raise STEnhanceError(
            f"A noise of {level:g} was given for images whose brightest tissue has {bright:.4g}; expected a standard "
            "deviation in units of the image. Leave noise_level unset to have it estimated."
        )


def _is_by_network(denoiser: str, notes: list[str]) -> bool:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if denoiser == NETWORK and missing:
        raise STEnhanceError(
            f"The denoiser 'network' needs {' and '.join(missing)}, not installed here; install with `pip install "
            f"{' '.join(missing)}`, or choose the classical denoiser."
        )
    if denoiser == CLASSICAL or missing:
        because = "" if denoiser == CLASSICAL else f", because {' and '.join(missing)} for the network is not installed"
        notes.append(f"Thresholds of cosine coefficients told noise from detail{because}.")
        return False
    notes.append("A network told noise from detail in the high band; the low band was left as it is.")
    return True


def _frames(
    measured: np.ndarray,
    periodic: bool,
    parameters: FrequencySplitParameters,
    noise: float,
    *,
    by_network: bool,
    notes: list[str],
) -> Iterator[EnhancedFrame]:
    weight = high_band(measured.shape[-2:], parameters.low_band)
    find_noise = _finder(measured, parameters.strength, noise, by_network=by_network, notes=notes)

    @functools.lru_cache(maxsize=3)
    def high(t: int) -> np.ndarray:
        return filtered(measured[t], weight)

    closed = periodic and len(measured) > 2  # else a frame would be its own neighbour, or have the same one twice

    def neighbour(t: int) -> np.ndarray | None:
        return high(t % len(measured)) if closed or 0 <= t < len(measured) else None

    for t, frame in enumerate(measured):
        noise_found = find_noise(high(t), neighbour(t - 1), neighbour(t + 1))
        yield EnhancedFrame(frame - filtered(noise_found, weight), float("nan"))


def _finder(
    measured: np.ndarray, strength: float, noise: float, *, by_network: bool, notes: list[str]
) -> Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], np.ndarray]:
    """What finds the noise of a frame in the high bands of the frame and its neighbours."""
    if not by_network:
        return lambda *bands: band_thresholds.noise_of(*bands, strength * noise)
    from STEnhanceLib.methods.band_network import noise_finder

    noise_of = noise_finder(MODEL, learned.brightness(measured), Placement(notes))
    # Up to 1 the strength is a share of the noise that was found; beyond, the network looks for more noise.
    return lambda *bands: np.float32(min(strength, 1)) * noise_of(*bands, max(strength, 1) * noise)


METHOD = Method(
    key="frequency-split",
    title="Frequency-split denoising",
    task=Task.ARTEFACT_REDUCTION,
    summary="Removes noise from the fine detail of images and leaves contrast and shading alone; needs no k-space.",
    parameters=FrequencySplitParameters,
    enhance=enhance,
    reference="After Uetani et al.: A preliminary study of deep learning-based reconstruction specialized for "
    "denoising in high-frequency domain. Neuroradiology 2021; 63:63-71; with denoisers of our own.",
    models=(MODEL,),
    rank=30,
    preview_frames=3,
)
