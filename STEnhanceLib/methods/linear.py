"""Linear blending of the two frames around each new moment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from STEnhanceLib.methods import output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.sequence import ImageSequence


def enhance(sequence: ImageSequence, parameters: OutputTimes) -> Enhancement:
    """Weigh both neighbours by their distance in time; measured frames stay as they are, bit for bit."""
    moments = parameters.moments(sequence.grid)
    notes = output_times.notes_on(parameters, sequence, moments)
    return Enhancement(output_times.grid_at(moments, sequence.grid), _frames(sequence.magnitude(), moments), notes)


def _frames(measured: np.ndarray, moments: list[Moment]) -> Iterator[EnhancedFrame]:
    for moment in moments:
        before, after = measured[moment.before], measured[moment.after]
        blend = before if moment.fraction == 0 else before + np.float32(moment.fraction) * (after - before)
        yield EnhancedFrame(blend, moment.unsupported)


METHOD = Method(
    key="linear",
    title="Linear blend",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Cross-fades neighbouring frames: quick, safe, and blurred where tissue moves.",
    parameters=OutputTimes,
    enhance=enhance,
    reference="Lehmann, Gönner, Spitzer: Survey: interpolation methods in medical image processing. "
    "IEEE Trans Med Imaging 1999; 18:1049-1075.",
    baseline=True,
    preview_frames=2,
    rank=10,
)
