"""Noise as it shows over time: what differs from the frames around it where little moves."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.sequence import ImageSequence

STILL = 0.25  # quantile of the differences: less of an image stands still only where the heart fills it
NORMAL_QUARTER = 0.3186  # that quantile of |x|, x standard normal
ENOUGH = 64  # frames
PASSED_ON = 1.5**0.5  # by the difference from the mean of two neighbours


def noise_over_time(sequence: ImageSequence) -> float:
    """Standard deviation of the noise of the middle slice; NaN for fewer than three frames.

    Of the brighter half of the voxels, since noise of magnitude images is weaker in air.
    """
    if len(sequence) < 3:
        return float("nan")
    frames = np.abs(sequence.frames[:ENOUGH, sequence.grid.shape[0] // 2]).astype(np.float32)
    differences = np.abs(frames[1:-1] - (frames[:-2] + frames[2:]) / 2)
    average = frames.mean(axis=0)
    bright = average >= np.median(average)
    return float(np.quantile(differences[:, bright], STILL)) / NORMAL_QUARTER / PASSED_ON
