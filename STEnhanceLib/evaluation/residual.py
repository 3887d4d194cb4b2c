"""How far a result is off what the scanner measured."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.sequence import ImageSequence


def kspace_residual(result: ImageSequence, measured: ImageSequence) -> float:
    """‖crop(result) − measured‖ / ‖measured‖ over all frames, for images from the centre of k-space.

    Args:
        result: (T, K, J, I).
        measured: (T, K, J', I'), the images of the smaller matrix that the result was made from.

    Returns:
        0 where the result agrees with the measurement; float32 alone leaves about 1e-7. NaN where nothing was measured.
    """
    difference = energy = 0.0
    for frame, low in zip(result.frames, measured.frames, strict=True):
        difference += float(np.sum(np.abs(centre_crop.crop(frame, low.shape[-2:]) - low) ** 2, dtype=np.float64))
        energy += float(np.sum(np.abs(low) ** 2, dtype=np.float64))
    return float(np.sqrt(difference / energy)) if energy else float("nan")
