"""A picture of what methods make of one protocol: the heart at end-systole, the error beside it.

python Testing/benchmarks/montage.py s4 scd0000301_sax "zero-fill,edsr,stenhance-sr" montage.png
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import find_cases
from STEnhanceLib.evaluation.protocols import find_protocol, middle_slices
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all

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

    case = next(case for case in find_cases(options.data, [options.case]))
    whole = case.read()
    scale = metrics.intensity_scale(whole)
    frame = case.facts.get("end_systole_frame", len(whole) // 3)
    trial = find_protocol(options.protocol).trial(middle_slices(whole, 1), frame)
    box = metrics.heart_box(case.facts["heart_centre_xy"], trial.reference.grid.shape)
    truth = trial.reference.magnitude()[frame, 0] / scale
    columns = {"reference": truth}
    for key in options.methods.split(","):
        method = find_method(key)
        result = enhance_all(method, trial.degraded, parse_parameters(method, trial.settings), **trial.inputs)
        columns[method.title] = result.frames[frame, 0] / scale
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
    main()
