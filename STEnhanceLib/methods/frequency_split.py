"""Frequency-split denoising: the discrete cosine transform splits each slice, and only the high band is denoised.

Contrast and shading live in the low band, noise mostly in the high one. What a denoiser takes for noise in the high
band is filtered with the same weight before it is removed, so the low band stays as it is whatever the denoiser does.

Interpolated images are denoised on the grid on which they were measured, where noise is noise of single pixels again.
Noise that is not white is made so for the network: frequencies are divided by its strength there, and what is found is
multiplied again.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.acquisition.acquired import Acquired, estimate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import band_thresholds, learned, measured_grid
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.frequency_bands import filtered, high_band
from STEnhanceLib.methods.noise_spectrum import Noise, at_each_frequency, find_noise
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.sequence import ImageSequence

MODEL = "frequency-split"
AUTOMATIC, NETWORK, CLASSICAL = "automatic", "network", "classical"
PACKAGES = ("torch", "safetensors")  # of the network
REACH = 2  # frames before and after that help
BRIGHT = 4  # noise levels, from where the magnitude of a band-limited image is band-limited
SMOOTH = 2.0  # pixels, of the brightness that counts for that


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
    acquired: str = measured_grid.measured_parameter()


def enhance(sequence: ImageSequence, parameters: FrequencySplitParameters) -> Enhancement:
    """Denoise the high band of each slice, frame by frame.

    Raises:
        STEnhanceError: the slices are smaller than one block, the noise is said to be brighter than the images, the
            network is wanted and torch is missing, or no such matrix can have been measured.
    """
    _, height, width = sequence.grid.shape
    if min(height, width) < band_thresholds.BLOCK:
        raise STEnhanceError(
            f"Slices of {width}×{height} were given; expected at least 8×8 pixels for frequency-split."
        )
    shown = replace(sequence, frames=sequence.magnitude())
    _check_level(parameters.noise_level, shown.frames)
    notes = ["The result could not be checked against the measurement, because only images were given."]
    by_network = _is_by_network(parameters.denoiser, notes)
    acquired = estimate(shown, parameters.acquired)
    measured = measured_grid.on_measured_grid(shown, acquired)
    notes += acquired.notes
    if acquired.interpolated:
        notes.append(f"Noise was removed on the grid of the measurement: {acquired.line()}.")
    noise = _noise_of(measured.frames, parameters.noise_level, notes)
    if np.iscomplexobj(sequence.frames):
        notes.append("The images are complex; their magnitude was denoised.")
    denoised = _frames(measured, parameters, noise, by_network=by_network, notes=notes)
    if acquired.interpolated:
        dark = BRIGHT * parameters.strength * noise.of_pixels
        denoised = (_shown(*frames, acquired, dark) for frames in zip(denoised, shown.frames, strict=True))
    frames = (EnhancedFrame(frame, float("nan")) for frame in denoised)
    return Enhancement(sequence.grid, frames, notes, (MODEL,) if by_network else ())


def _noise_of(frames: np.ndarray, given: float | None, notes: list[str]) -> Noise:
    """From the images, or as strong as the user says."""
    noise = find_noise(frames)
    if not noise.is_white:
        notes.append(
            f"The noise is not white: its weakest frequency has {noise.shape.min():.0%} of the strongest one's, as "
            "filters and interpolation leave it. Each frequency was denoised by its own noise."
        )
    if given is not None:
        return noise.at_level(given)
    notes.append(f"The standard deviation of the noise was estimated as {noise.of_pixels:.4g} in units of the image.")
    return noise


def _shown(frame: np.ndarray, shown: np.ndarray, acquired: Acquired, dark: float) -> np.ndarray:
    """A denoised frame on the grid of the input, with what this has beyond the measured frequencies, unless dark.

    There the magnitude of noise fills all frequencies. Where signal is bright nothing is expected beyond, so what is
    there is no noise: the measured matrix may be larger than was found.
    """
    from scipy.ndimage import gaussian_filter

    bright = gaussian_filter(shown, (0, SMOOTH, SMOOTH)) >= dark
    kept = gaussian_filter(bright.astype(np.float32), (0, SMOOTH / 2, SMOOTH / 2))
    beyond = centre_crop.beyond(shown, acquired.measured_ji)
    return centre_crop.zero_fill(frame, acquired.shown_ji) + kept * beyond


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
    sequence: ImageSequence,
    parameters: FrequencySplitParameters,
    noise: Noise,
    *,
    by_network: bool,
    notes: list[str],
) -> Iterator[np.ndarray]:
    measured = sequence.frames
    weight = high_band(measured.shape[-2:], parameters.low_band)
    find_noise = _finder(measured, parameters.strength, noise, by_network=by_network, notes=notes)
    # The network finds noise that is white; thresholds know that of each coefficient.
    colour = at_each_frequency(noise.shape, weight.shape) if by_network else np.float32(1)

    @functools.lru_cache(maxsize=1 + 2 * REACH)
    def high(t: int) -> np.ndarray:
        return filtered(measured[t], weight / colour)

    for t, frame in enumerate(measured):
        indices, centre = _around(t, len(measured), sequence.periodic)
        found = find_noise([high(index) for index in indices], centre)
        yield frame - filtered(found, weight * colour)


def _around(t: int, count: int, periodic: bool) -> tuple[list[int], int]:
    """The frames that tell the noise of frame t, in the order of time and none twice, and which of them it is."""
    if periodic and count > 2:
        reach = min(REACH, (count - 1) // 2)
        return [(t + steps) % count for steps in range(-reach, reach + 1)], reach
    first = max(t - REACH, 0)
    return list(range(first, min(t + REACH + 1, count))), t - first


def _finder(
    measured: np.ndarray, strength: float, noise: Noise, *, by_network: bool, notes: list[str]
) -> Callable[[Sequence[np.ndarray], int], np.ndarray]:
    """What finds the noise of a frame in the high bands of the frame and its neighbours."""
    if not by_network:
        return lambda bands, centre: band_thresholds.noise_of(bands, centre, strength * noise.level * noise.shape)
    from STEnhanceLib.methods.band_network import noise_finder

    noise_of = noise_finder(MODEL, learned.brightness(measured), Placement(notes))
    # Up to 1 the strength is a share of the noise that was found; beyond, the network looks for more noise.
    share, level = np.float32(min(strength, 1)), max(strength, 1) * noise.level
    return lambda bands, centre: share * noise_of(bands, centre, level)


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
    preview_frames=1 + 2 * REACH,
)
