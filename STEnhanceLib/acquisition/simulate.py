"""Makes degraded copies of good sequences: what a scanner would have measured, and what a user would then hold.

The acquisitions in images (s, k, m, i, w, z, n, t) need numpy and scipy only; those in k-space (r, c, h) need torch.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from STEnhanceLib.acquisition import centre_crop, thick_slices, windows
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.noise import complex_noise, intensity_scale
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

COILS = 8
NOISE_PERCENT = 1.0
THICKNESS = 4  # slices of the reference in one of z4
READOUT_OVERSAMPLING = 2

_SUPER_RESOLUTION, _ARTEFACTS, _TEMPORAL, _JOINT = (
    "super-resolution", "artefact reduction", "temporal interpolation", "joint",
)  # fmt: skip


class _Scanner(NamedTuple):
    """What a scanner does beside measuring a smaller matrix.

    Attributes:
        measured, shown: matrices, as shares per axis of the matrix of the original.
        window: of the measured matrix.
        noise_percent: complex, of the intensity scale.
    """

    measured: float
    shown: float
    window: Callable[[tuple[int, int]], np.ndarray] | None = None
    noise_percent: float = 0.0


class Acquisition(NamedTuple):
    """What a simulated acquisition is for, and what it does.

    Attributes:
        task: the value of `methods.Task` that undoes it, or "joint".
        summary: one line.
    """

    task: str
    summary: str


ACQUISITIONS: dict[str, Acquisition] = {
    "s2": Acquisition(_SUPER_RESOLUTION, "in-plane k-space centre crop to 1/2 per axis"),
    "s4": Acquisition(_SUPER_RESOLUTION, "in-plane k-space centre crop to 1/4 per axis"),
    "k10": Acquisition(_SUPER_RESOLUTION, "in-plane k-space centre crop to 10 % of the samples"),
    "k6": Acquisition(_SUPER_RESOLUTION, "in-plane k-space centre crop to 6.25 % of the samples"),
    "k4": Acquisition(_SUPER_RESOLUTION, "in-plane k-space centre crop to 4 % of the samples"),
    "m4": Acquisition(_SUPER_RESOLUTION, "magnitude of s4"),
    "i4": Acquisition(_SUPER_RESOLUTION, "s4, interpolated to half of the matrix as by a scanner, magnitude"),
    "i2": Acquisition(_SUPER_RESOLUTION, "s2 on its own grid, magnitude: nothing to undo"),
    "i1": Acquisition(_SUPER_RESOLUTION, "s2, interpolated to the whole matrix as by a scanner, magnitude"),
    "w4": Acquisition(_SUPER_RESOLUTION, "i4 with a Fermi filter and 1 % noise"),
    "w4h": Acquisition(_SUPER_RESOLUTION, "i4 with a Hann filter and 1 % noise"),
    "z4": Acquisition(_SUPER_RESOLUTION, "slices 4 times as thick and as far apart"),
    "r13": Acquisition(_ARTEFACTS, "golden-angle radial, 13 spokes per frame, 8 coils, 1 % noise"),
    "r13d": Acquisition(_ARTEFACTS, "r13 with gradients that are up to 1.5 samples late along each axis"),
    "r26": Acquisition(_ARTEFACTS, "golden-angle radial, 26 spokes per frame, 8 coils, 1 % noise"),
    "c4": Acquisition(_ARTEFACTS, "kt-interleaved Cartesian lines, 4×, 8 coils, 1 % noise"),
    "c8": Acquisition(_ARTEFACTS, "kt-interleaved Cartesian lines, 8×, 8 coils, 1 % noise"),
    "h4": Acquisition(_ARTEFACTS, "random Cartesian lines around a fixed centre, 4×, 1 coil, 1 % noise"),
    "n5": Acquisition(_ARTEFACTS, "Rician noise of 5 %"),
    "ni5": Acquisition(_ARTEFACTS, "Rician noise of 5 % on 0.625 of the matrix per axis, interpolated by zero-filling"),
    "t2": Acquisition(_TEMPORAL, "every 2nd frame kept"),
    "t4": Acquisition(_TEMPORAL, "every 4th frame kept"),
    "t6": Acquisition(_TEMPORAL, "only frame 0 and the end-systolic frame kept"),
    "st48": Acquisition(_JOINT, "s4 on every 8th frame"),
}

_CROP_PER_AXIS = {"s2": 1 / 2, "s4": 1 / 4, "k10": 0.10**0.5, "k6": 0.0625**0.5, "k4": 0.04**0.5, "st48": 1 / 4}
_SCANNERS = {
    "m4": _Scanner(1 / 4, 1 / 4),
    "i4": _Scanner(1 / 4, 1 / 2),
    "i2": _Scanner(1 / 2, 1 / 2),
    "i1": _Scanner(1 / 2, 1),
    "w4": _Scanner(1 / 4, 1 / 2, windows.fermi, NOISE_PERCENT),
    "w4h": _Scanner(1 / 4, 1 / 2, windows.hann, NOISE_PERCENT),
    "n5": _Scanner(1, 1, None, 5.0),
    "ni5": _Scanner(0.625, 1, None, 5.0),
}
_EVERY = {"t2": 2, "t4": 4, "st48": 8}
_SPOKES_OR_ACCELERATION = re.compile(r"(r|c(?!.*d))([1-9]\d?)d?")
LATEST = 1.5  # samples of the oversampled readout, in rNd
_RANDOM_ACCELERATION, _CENTRE_SHARE = {"h4": 4}, 0.08


@dataclass(frozen=True, eq=False)
class Simulation:
    """A degraded copy.

    Attributes:
        sequence: what a user would hold: fewer voxels, slices or frames, or images with artefacts.
        kspace: the samples and coils behind it, for acquisitions in k-space; else None.
        kept: (T',) indices of the frames of the original that `sequence` has.
    """

    sequence: ImageSequence
    kspace: KSpace | None
    kept: np.ndarray


def simulate(
    sequence: ImageSequence,
    acquisition: str,
    seed: int = 0,
    end_systole_frame: int | None = None,
    *,
    scale: float | None = None,
    late: np.ndarray | None = None,
) -> Simulation:
    """Degrade a sequence as an acquisition of the benchmark does.

    Args:
        sequence: the good one; stays untouched. Float32 may be signed and stays so in s, k and z; n takes the magnitude
            of the noisy images; for r, c and h magnitude images get a simulated smooth phase.
        acquisition: a key of `ACQUISITIONS`, or r or c with another number, such as r20 or r20d.
        seed: of noise, phase, random lines and random delays.
        end_systole_frame: for t6; if None, the frame that differs most from frame 0, and a note says so.
        scale: the intensity of which noise is so many percent, where `sequence` is only a part of what is scored; if
            None, that of the sequence.
        late: for r, how late the gradients are, see `delays.Delays`; if None on time, or for rNd by a random part of
            `LATEST` along each axis.

    Raises:
        STEnhanceError: no such acquisition, or the sequence has too few frames, slices or pixels for it, or torch is
            needed and missing.
    """
    if acquisition not in ACQUISITIONS and not spokes_or_acceleration(acquisition):
        raise STEnhanceError(
            f"There is no acquisition {acquisition!r}; there are: {', '.join(ACQUISITIONS)}, and r and c with any "
            "other number up to 99, r also with d behind it."
        )
    record: dict[str, object] = {"acquisition": acquisition, "seed": seed}
    kept = np.arange(len(sequence))
    kspace, result = None, sequence
    if acquisition in _EVERY:
        result, kept = _every(result, _EVERY[acquisition], acquisition)
    if acquisition in _CROP_PER_AXIS:
        result = _cropped(result, _CROP_PER_AXIS[acquisition], acquisition)
    elif acquisition in _SCANNERS:
        scanner = _SCANNERS[acquisition]
        std = scanner.noise_percent / 100 * (intensity_scale(result.frames) if scale is None else scale)
        result = _shown_by_scanner(result, scanner, std, seed)
        record |= {"noise_percent": scanner.noise_percent, "noise_std": std} if std else {}
    elif acquisition == "z4":
        result = _thick_slices(result)
    elif acquisition == "t6":
        result, kept = _first_and_end_systole(result, end_systole_frame)
    elif acquisition in _RANDOM_ACCELERATION or spokes_or_acceleration(acquisition):
        if late is None and has_delays(acquisition):
            late = np.diag(np.random.default_rng((seed, 4)).uniform(0, LATEST, 2))
        result, kspace = _undersampled(result, acquisition, seed, scale, late)
        record |= {"coils": kspace.coils, "noise_percent": NOISE_PERCENT, "noise_std": kspace.noise_std}
        if late is not None:
            record |= {
                "delays_in_samples": {
                    "rows": float(late[0, 0]),
                    "columns": float(late[1, 1]),
                    "across": float(late[0, 1]),
                }
            }
    result = dataclasses.replace(
        result,
        name=f"{sequence.name} {acquisition}".strip(),
        attributes={**sequence.attributes, "STEnhance.Simulated": json.dumps(record, sort_keys=True)},
    )
    return Simulation(result, kspace, kept)


def _cropped(sequence: ImageSequence, per_axis: float, acquisition: str) -> ImageSequence:
    # No magnitude is taken: the crop stays linear, ringing below zero stays where the physics puts it, and zero-filling
    # the result gives exactly what the Fourier transform of the original holds in the centre of k-space.
    slices, *shape_ji = sequence.grid.shape
    smaller = tuple(round(n * per_axis) for n in shape_ji)
    if min(smaller) < 2:
        raise STEnhanceError(
            f"{acquisition} would leave {smaller[1]}×{smaller[0]} pixels of {shape_ji[1]}×{shape_ji[0]}; expected at "
            "least 2×2. Choose a milder acquisition."
        )
    grid = sequence.grid.resampled((slices, *smaller))
    frames = np.stack([centre_crop.crop(frame, smaller) for frame in sequence.frames])
    return dataclasses.replace(sequence, frames=frames, ijk_to_ras=grid.ijk_to_ras)


def _shown_by_scanner(sequence: ImageSequence, scanner: _Scanner, std: float, seed: int) -> ImageSequence:
    """Magnitude images on the matrix that is shown, of a smaller one that was measured with noise."""
    measured, shown = (tuple(max(2, round(n * share)) for n in sequence.grid.shape[1:]) for share in scanner[:2])
    grid = sequence.grid.resampled((sequence.grid.shape[0], *shown))
    random = np.random.default_rng((seed, 2))
    frames = np.empty((len(sequence), *grid.shape), np.float32)
    for frame, seen in zip(sequence.frames, frames, strict=True):  # as complex numbers, one at a time
        samples = centre_crop.crop(frame, measured)
        samples = samples + complex_noise(samples.shape, std, random) if std else samples
        if scanner.window:
            samples = windows.filtered(samples, scanner.window(measured))
        np.abs(centre_crop.zero_fill(samples, shown), out=seen)
    return dataclasses.replace(sequence, frames=frames, ijk_to_ras=grid.ijk_to_ras)


def _thick_slices(sequence: ImageSequence) -> ImageSequence:
    """See `thick_slices`."""
    slices = sequence.grid.shape[0]
    if slices <= THICKNESS:
        raise STEnhanceError(f"z4 was to be simulated from {slices} slices; expected at least {THICKNESS + 1}.")
    thick = -(-slices // THICKNESS)
    frames = np.stack([thick_slices.measure(frame, thick, THICKNESS) for frame in sequence.frames])
    ijk_to_ras = sequence.ijk_to_ras @ np.diag([1.0, 1.0, THICKNESS, 1.0])
    return dataclasses.replace(sequence, frames=frames, ijk_to_ras=ijk_to_ras)


def _every(sequence: ImageSequence, step: int, acquisition: str) -> tuple[ImageSequence, np.ndarray]:
    kept = np.arange(0, len(sequence), step)
    if len(kept) < 2:
        raise STEnhanceError(
            f"{acquisition} was to be simulated from {len(sequence)} frames; expected at least {step + 1}."
        )
    # Only whole steps around the cycle leave evenly spaced frames; else the last gap is shorter than the others.
    periodic = sequence.periodic and len(sequence) % step == 0
    return dataclasses.replace(sequence.with_frames(kept), periodic=periodic), kept


def _first_and_end_systole(sequence: ImageSequence, end_systole: int | None) -> tuple[ImageSequence, np.ndarray]:
    notes = sequence.notes
    if len(sequence) < 3:
        raise STEnhanceError(f"t6 was to be simulated from {len(sequence)} frames; expected at least 3.")
    if end_systole is None:
        first = sequence.frames[0]
        end_systole = 2 + int(np.argmax([np.mean(np.abs(frame - first) ** 2) for frame in sequence.frames[2:]]))
        notes += (f"Frame {end_systole} was taken as end-systole, because it differs most from frame 0.",)
    if not 2 <= end_systole < len(sequence):
        raise STEnhanceError(
            f"Frame {end_systole} was given as end-systole of {len(sequence)} frames; expected an index from 2 to "
            f"{len(sequence) - 1}, so that there are frames between it and frame 0."
        )
    kept = np.array([0, end_systole])
    return dataclasses.replace(sequence.with_frames(kept), periodic=False, notes=notes), kept


def spokes_or_acceleration(acquisition: str) -> tuple[str, int] | None:
    """("r", spokes per frame) or ("c", acceleration); None for other acquisitions."""
    found = _SPOKES_OR_ACCELERATION.fullmatch(acquisition)
    return (found[1], int(found[2])) if found else None


def has_delays(acquisition: str) -> bool:
    """Gradients are late in it, and its k-space says only where the samples were meant to lie."""
    return acquisition.endswith("d")


def _undersampled(
    sequence: ImageSequence, acquisition: str, seed: int, scale: float | None, late: np.ndarray | None
) -> tuple[ImageSequence, KSpace]:
    """Radial or Cartesian samples, and the gridded or zero-filled magnitude images made from them.

    Where gradients are late, the images are those of a scanner that does not know it.
    """
    try:
        import torch

        from STEnhanceLib.acquisition import cartesian, delays, radial
    except ImportError as error:
        raise STEnhanceError(
            f"{acquisition} needs {error.name}, not installed here; install with `pip install torch torchkbnufft`."
        ) from None
    from STEnhanceLib.acquisition.coils import birdcage_sensitivities, smooth_phase

    (slices, rows, columns), frames = sequence.grid.shape, len(sequence)
    one_coil = np.ones((slices, 1, rows, columns), np.complex64)
    kind, number = spokes_or_acceleration(acquisition) or ("h", _RANDOM_ACCELERATION[acquisition])
    coils = torch.from_numpy(one_coil if kind == "h" else birdcage_sensitivities(sequence.grid, COILS))
    phase = 1 if np.iscomplexobj(sequence.frames) else smooth_phase(sequence.grid, seed)
    own = intensity_scale(sequence.frames)
    std = NOISE_PERCENT / 100 * (own if scale is None else scale)
    if own == 0:
        raise STEnhanceError(f"{acquisition} was to be simulated from images that are 0; expected some signal.")
    mask = trajectory = None
    if kind != "r":
        if kind == "h":
            random = np.random.default_rng((seed, 3))
            mask = cartesian.random_mask(frames, rows, number, _CENTRE_SHARE, random)
        else:
            mask = cartesian.interleaved_mask(frames, rows, number)
        operator = cartesian.CartesianOperator(torch.from_numpy(mask), coils[0])
        measured = mask[:, None, :, None]
    else:
        readout = READOUT_OVERSAMPLING * max(rows, columns)
        trajectory = radial.golden_angle_trajectory(frames, number, readout)
        operator = radial.RadialOperator(torch.from_numpy(trajectory), coils[0])
        measured = True
    scanner = operator
    if kind == "r" and late is not None:
        scanner = radial.RadialOperator(torch.from_numpy(delays.moved(trajectory, late)), coils[0])
    samples: np.ndarray | None = None
    images = np.empty(sequence.frames.shape, np.float32)
    for index in range(slices):
        of_slice = coils[index]
        true = sequence.frames[:, index] * (phase if isinstance(phase, int) else phase[index])
        ideal = scanner.with_coils(of_slice).forward(torch.from_numpy(true.astype(np.complex64))).numpy()
        random = np.random.default_rng((seed, 2, index))
        noisy = ideal + complex_noise(ideal.shape, std, random) * measured
        images[:, index] = operator.with_coils(of_slice).gridded(torch.from_numpy(noisy)).abs().numpy()
        if samples is None:
            samples = np.empty((frames, slices, *noisy.shape[1:]), np.complex64)
        samples[:, index] = noisy
    kspace = KSpace(samples, coils.numpy(), sequence.grid, mask, trajectory, std)
    return dataclasses.replace(sequence, frames=images), kspace
