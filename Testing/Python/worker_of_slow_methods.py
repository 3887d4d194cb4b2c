"""A worker that also has methods as slow as diffusion and adaptation are, for what the panel says meanwhile."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from standing_still import stand_still

from STEnhanceLib import progress
from STEnhanceLib.jobs import worker
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, Task, output_times
from STEnhanceLib.methods.declaration import SideMap, parameter
from STEnhanceLib.methods.output_times import OutputTimes

STEP_S = 0.02
GATE = "STENHANCE_TEST_GATE"  # names a file; while it is not there, a run stands still in the middle
SPREAD = SideMap("spread", "spread of the samples")


def work_on(text: str, share: float, in_the_middle: bool):
    """One step."""
    progress.tell(text, share)
    time.sleep(STEP_S)
    if in_the_middle:
        stand_still(os.environ.get(GATE, ""), text, share)


@dataclass(frozen=True)
class Draws(OutputTimes):
    """As diffusion methods have them."""

    steps: int = parameter(10, "Steps of the diffusion.", minimum=1, maximum=15)
    samples: int = parameter(4, "How many results are drawn.", minimum=1, maximum=16)


def draw(sequence, draws):
    """Frame by frame; measured ones come at once."""
    moments = draws.moments(sequence.grid)
    late = len(moments) // 2

    def frames():
        for index, moment in enumerate(moments):
            for step in range(draws.steps if moment.fraction else 0):
                share = step / draws.steps
                work_on(f"step {step + 1} of {draws.steps}", share, index > late and share >= 0.5)
            voxels = np.abs(sequence.frames[moment.before])
            yield EnhancedFrame(voxels, moment.unsupported, {SPREAD.key: np.zeros_like(voxels)})

    return Enhancement(output_times.grid_at(moments, sequence.grid), frames(), maps=(SPREAD,))


@dataclass(frozen=True)
class Adaptation(OutputTimes):
    """As the learned motion has it."""

    adapt_minutes: float = parameter(
        0.05, "Minutes to adapt; 0 for none.", minimum=0.0, unit="min", label="Adapt to this patient"
    )


def adapt(sequence, adaptation):
    """Everything before the first frame."""
    moments = adaptation.moments(sequence.grid)

    def frames():
        steps = max(1, round(60 * adaptation.adapt_minutes / STEP_S))
        for step in range(steps):
            work_on(f"adapting to this patient, step {step + 1}", step / steps, 10 * step >= steps)
        for moment in moments:
            yield EnhancedFrame(np.abs(sequence.frames[moment.before]), moment.unsupported)

    return Enhancement(output_times.grid_at(moments, sequence.grid), frames())


def _declared(key: str, title: str, parameters: type, enhance, **more) -> Method:
    return Method(
        key=key,
        title=title,
        task=Task.TEMPORAL_INTERPOLATION,
        summary="Takes its time.",
        parameters=parameters,
        enhance=enhance,
        reference="none",
        **more,
    )


SLOW = {
    "test-diffusion": _declared("test-diffusion", "Slow diffusion", Draws, draw, generative=True),
    "test-adaptation": _declared("test-adaptation", "Slow adaptation", Adaptation, adapt),
}

if __name__ == "__main__":
    from STEnhanceLib.methods import all_methods

    all_methods().update(SLOW)
    worker.main(Path(sys.argv[1]))
