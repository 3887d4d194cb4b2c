"""What is within reach on the phantoms of large motion: kept frames fetched along the true motion, and blended.

    python Testing/benchmarks/along_the_truth.py

No method knows the truth. What is lost even so is lost to what comes into view, what slides over something else, and
the kernel.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.phantom_cases import PATIENT, phantom_cases
from STEnhanceLib.evaluation.protocols import find_protocol
from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import Knee
from STEnhanceLib.sequence import ImageSequence


def fetched(phantom: Knee | Breathing, frame: ImageSequence, time_ms: float) -> np.ndarray:
    """(K, J, I) at a moment, from a single frame and the true motion."""
    field = phantom.displacement(frame.grid, time_ms, float(frame.times_ms[0]))
    in_voxels = np.tensordot(np.linalg.inv(frame.ijk_to_ras[:3, :3]), field, axes=1)[::-1]
    return map_coordinates(frame.frames[0], np.indices(frame.grid.shape) + in_voxels, order=3, mode="nearest")


def main() -> None:
    """Print PSNR in dB, of the whole frame and of the box."""
    for case, phantom in zip(phantom_cases(["knee", "breathing"]), (Knee(PATIENT), Breathing(PATIENT)), strict=True):
        good = case.read()
        for key in ("t4", "t6"):
            trial = case.spoil(find_protocol(key), good, None)
            kept, frames = trial.degraded, []
            ends = [*range(len(kept)), 0] if kept.periodic else range(len(kept))
            end_times = [*kept.times_ms, kept.grid.period_ms] if kept.periodic else kept.times_ms
            for time_ms in trial.reference.times_ms:
                after = int(np.clip(np.searchsorted(end_times, time_ms, side="right"), 1, len(end_times) - 1))
                share = (time_ms - end_times[after - 1]) / (end_times[after] - end_times[after - 1])
                one, other = (fetched(phantom, kept.with_frames([ends[n]]), time_ms) for n in (after - 1, after))
                frames.append((1 - share) * one + share * other)
            result = ImageSequence.from_frames(frames, trial.reference.grid)
            box = metrics.heart_box(case.facts["heart_centre_xy"], good.grid.shape)
            scores = metrics.score(result, trial.reference, box, trial.scored, metrics.intensity_scale(good))
            print(f"{key} {case.name}: {scores.whole.means()['psnr']:.2f} dB, box {scores.box.means()['psnr']:.2f} dB")


if __name__ == "__main__":
    main()
