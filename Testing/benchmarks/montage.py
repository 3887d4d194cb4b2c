"""A picture of what methods make of one protocol: the heart at end-systole, the error beside it.

python Testing/benchmarks/montage.py s4 scd0000301_sax "zero-fill,edsr,stenhance-sr" montage.png
python Testing/benchmarks/montage.py t6 knee "linear,motion,tssc-net" montage.png

Phantoms are shown whole; of frames filled in, the middle one of those that are scored is shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.contestants import contestants, split_words
from STEnhanceLib.evaluation.measured_run import timed
from STEnhanceLib.evaluation.phantom_cases import PHANTOMS
from STEnhanceLib.evaluation.protocols import find_protocol, middle_slices
from STEnhanceLib.methods import Task

BRIGHTEST = 0.8  # of the 99.9th percentile, so that the myocardium is not black
ERROR = 0.15  # of the 99.9th percentile, at the ends of the colour scale


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol")
    parser.add_argument("case")
    parser.add_argument("methods")
    parser.add_argument("png", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STENHANCE_DATA", ".")) / "cine")
    options = parser.parse_args()

    phantom = options.case in PHANTOMS
    case = PHANTOMS[options.case]() if phantom else next(case for case in find_cases(options.data, [options.case]))
    whole = case.read()
    scale = metrics.intensity_scale(whole)
    frame = case.facts.get("end_systole_frame", len(whole) // 3)
    protocol = find_protocol(options.protocol)
    trial = protocol.trial(middle_slices(whole, 1), frame, case.facts.get("periodic", True), scale)
    if protocol.task is Task.TEMPORAL_INTERPOLATION:
        frame = trial.scored[len(trial.scored) // 2]
    box = np.s_[:, :] if phantom else metrics.heart_box(case.facts["heart_centre_xy"], trial.reference.grid.shape)
    truth = trial.reference.magnitude()[frame, 0] / scale
    columns = {"reference": truth}
    for contestant in contestants(protocol.task, split_words(options.methods)):
        if contestant.label in split_words(options.methods):  # and not the baselines that come along
            steps = contestant.steps(protocol.key, trial)
            result, _seconds = timed(steps, trial.degraded, contestant.inputs(trial))
            columns[contestant.method.title] = result.frames[frame, 0] / scale
    figure = Figure(figsize=(2.6 * len(columns), 5.4), layout="constrained")
    axes = figure.subplots(2, len(columns))
    for axis in axes.flat:
        axis.set_axis_off()
    for (title, image), (above, below) in zip(columns.items(), axes.T, strict=True):
        above.imshow(image[box], cmap="gray", vmin=0, vmax=BRIGHTEST)
        above.set_title(title)
        if image is not truth:
            error = (image - truth)[box]
            below.imshow(error, cmap="RdBu", vmin=-ERROR, vmax=ERROR)
            below.set_title(f"{-10 * np.log10(np.mean(error**2)):.2f} dB", fontsize="medium")
    figure.savefig(options.png, dpi=110)


if __name__ == "__main__":
    try:
        main()
    except STEnhanceError as error:
        sys.exit(str(error))
