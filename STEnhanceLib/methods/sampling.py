"""What methods share that draw several results from noise: how many, from which seed, and how far these differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.methods.declaration import SideMap, parameter

SPREAD = SideMap("spread", "spread of the samples")


def number_of_samples(default: int):
    """The parameter `samples`."""
    help = "How many results are drawn; their mean is shown, and where they differ."
    return parameter(default, help, minimum=1, maximum=16)


@dataclass(frozen=True)
class Samples:
    """How many, and from which noise."""

    samples: int = number_of_samples(1)
    seed: int = parameter(0, "Of the noise; the same seed gives the same result.", minimum=0)

    @property
    def maps(self) -> tuple[SideMap, ...]:
        """One sample differs from none."""
        return (SPREAD,) if self.samples > 1 else ()

    def note(self, steps: int) -> str:
        """What is shown, drawn in so many steps of the diffusion."""
        several = f"the mean of {self.samples} samples" if self.samples > 1 else "one sample"
        return f"What is shown is {several} of {steps} diffusion step{'s' * (steps > 1)} (seed {self.seed})."


def note_on_spread(percents: Sequence[float]) -> str:
    """How far samples differ: the mean over the voxels of each frame that was drawn, in % of the intensity scale."""
    return (
        f"Samples are spread by {np.mean(percents):.2f} % of the 99.9th percentile on average over all voxels that "
        "were drawn; where they agree, they may still be wrong together."
    )


def seed_of(*numbers: int) -> int:
    """One for the noise of each sample of each gap or slice, whatever else is drawn."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
