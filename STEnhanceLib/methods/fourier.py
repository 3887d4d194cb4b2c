"""Fourier interpolation in time: every voxel of a periodic cine is a sum of harmonics of the cycle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.sequence import Grid, ImageSequence

MOST_NOISE_AMPLIFICATION = 3.0


def enhance(sequence: ImageSequence, parameters: OutputTimes) -> Enhancement:
    """Zero-fill along the temporal frequency; measured frames stay as they are, bit for bit.

    Raises:
        STEnhanceError: the sequence is not periodic, or its frames are too unevenly spaced for it.
    """
    if not sequence.periodic:
        raise STEnhanceError(
            "The sequence is not marked as one full cycle, but fourier needs a periodic one. Mark it as periodic if "
            "its last frame is followed by the first, or choose linear or demons."
        )
    moments = parameters.moments(sequence.grid)
    weights = harmonic_weights(sequence.grid, np.array([moment.time_ms for moment in moments]))
    amplification = float(np.linalg.norm(weights, axis=1).max())
    if amplification > MOST_NOISE_AMPLIFICATION:
        raise STEnhanceError(
            f"The frames are so unevenly spaced in time that fourier would amplify their noise {amplification:.0f} "
            f"times; expected at most {MOST_NOISE_AMPLIFICATION:g} times. Choose linear or demons."
        )
    notes = output_times.notes_on(parameters, sequence, moments)
    grid = output_times.grid_at(moments, sequence.grid)
    return Enhancement(grid, _frames(sequence.magnitude(), moments, weights.astype(np.float32)), notes)


def harmonic_weights(source: Grid, times_ms: np.ndarray) -> np.ndarray:
    """The trigonometric interpolation as a matrix, from measured frames to frames at `times_ms`; (T', T) float64.

    The T harmonics are 1, cos and sin of each whole frequency below T/2, and the cosine at T/2 for even T. For equal
    spacing this is zero-filling of the discrete Fourier transform; uneven times are solved for exactly.
    """
    harmonics = np.arange(1, (len(source) - 1) // 2 + 1)

    def basis(times: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * (times - source.times_ms[0])[:, None] / source.period_ms
        nyquist = np.cos(angle * len(source) / 2) if len(source) % 2 == 0 else angle[:, :0]
        return np.hstack([np.ones_like(angle), np.cos(angle * harmonics), np.sin(angle * harmonics), nyquist])

    return basis(times_ms) @ np.linalg.pinv(basis(source.times_ms))


def _frames(measured: np.ndarray, moments: list[Moment], weights: np.ndarray) -> Iterator[EnhancedFrame]:
    for moment, row in zip(moments, weights, strict=True):
        voxels = measured[moment.before] if moment.fraction == 0 else np.tensordot(row, measured, axes=1)
        yield EnhancedFrame(voxels, moment.unsupported)


METHOD = Method(
    key="fourier",
    title="Fourier in time",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Interpolates a full cardiac cycle by its harmonics: best for small motion and many frames.",
    parameters=OutputTimes,
    enhance=enhance,
    reference="Bracewell: The Fourier Transform and Its Applications. McGraw-Hill, 3rd ed. 2000.",
    baseline=True,
    preview_frames=None,
    rank=20,
)
