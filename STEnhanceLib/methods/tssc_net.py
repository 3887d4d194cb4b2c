"""TSSC-Net: a diffusion transformer invents all frames between two measured ones at once, where motion is too large
to be followed; a second network makes their slices consistent (`networks.tssc_net`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.methods import learned, output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.sampling import SPREAD, Samples, note_on_spread, seed_of
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

STAGE1, STAGE2 = "tssc-stage1", "tssc-stage2"
TOKENS = 16  # outputs of the transformer cost as much memory as so many of a convolution
INVENTED = "Frames between the measured ones were invented by a network: plausible, and not measured."


@dataclass(frozen=True)
class TsscParameters(Samples, OutputTimes):
    """The moments to fill in, and how they are sampled."""

    steps: int = parameter(
        4,
        "Steps of the diffusion; more take longer and draw finer detail, which nobody measured.",
        minimum=1,
        maximum=50,
    )
    consistent_slices: bool = parameter(
        True, "Let the second network make neighbouring slices consistent, as published.", label="Consistent slices"
    )
    model: str = learned.model_parameter(" the frames")


def enhance(sequence: ImageSequence, parameters: TsscParameters) -> Enhancement:
    """Draw what lies between neighbouring measured frames; those stay as they are, bit for bit.

    Raises:
        STEnhanceError: fewer than two frames, or no such model.
    """
    moments = parameters.moments(sequence.grid)
    name = learned.chosen_model(parameters.model, STAGE1, "diffusion-transformer", Task.TEMPORAL_INTERPOLATION)
    names = (name, STAGE2) if parameters.consistent_slices else (name,)
    notes = [*output_times.notes_on(parameters, sequence, moments), INVENTED, parameters.note(parameters.steps)]
    frames = _frames(sequence.magnitude(), moments, parameters, names, notes)
    return Enhancement(output_times.grid_at(moments, sequence.grid), frames, notes, names, parameters.maps)


def _frames(
    measured: np.ndarray, moments: list[Moment], parameters: TsscParameters, names: tuple[str, ...], notes: list[str]
) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.networks.diffusion_transformer import MOST_FRAMES

    sampler = _Sampler(names, parameters, Placement(notes))
    scale, spreads = learned.brightness(measured), []
    gaps = output_times.by_gap(moments)
    wanted = [[moment.fraction for moment in gap if moment.fraction > 0] for gap in gaps]
    if max(map(len, wanted)) > MOST_FRAMES:
        notes.append(
            f"Of more than {MOST_FRAMES} frames between two measured ones, {MOST_FRAMES} at a time were drawn "
            "together: from one such group to the next the images may jump."
        )
    done, to_do = 0, sum(map(bool, wanted))
    for gap, fractions in zip(gaps, wanted, strict=True):
        drawn = iter(())
        if fractions:
            with progress.part(done, to_do, "gap"):
                ends = measured[[gap[0].before, gap[0].after]]
                drawn = zip(*sampler.draw(ends, fractions, gap[0].before), strict=True)
            done += 1
        for moment in gap:
            if moment.fraction == 0:
                voxels, spread = measured[moment.before], np.zeros(measured.shape[1:], np.float32)
            else:
                voxels, spread = next(drawn)
                spreads.append(100 * float(spread.mean()) / scale)
            yield EnhancedFrame(voxels, moment.unsupported, {SPREAD.key: spread} if parameters.maps else {})
    if parameters.maps and spreads:
        notes.append(note_on_spread(spreads))


@dataclass(frozen=True)
class _Sampler:
    names: tuple[str, ...]  # of the models for one or both stages
    parameters: TsscParameters
    placement: Placement

    def draw(self, ends: np.ndarray, fractions: list[float], gap: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the samples, (F, K, J, I) on the scale of the ends (2, K, J, I).

        Args:
            fractions: F of them, of the way from one end to the other.
            gap: the number of its first frame, for noise of its own, whatever else is asked for.
        """
        import torch

        mean = squares = torch.zeros(())
        for sample in range(self.parameters.samples):
            seed = seed_of(self.parameters.seed, gap, sample)
            with progress.part(sample, self.parameters.samples, "sample"):
                drawn = self._sample(torch.from_numpy(ends), torch.tensor(fractions), seed)
            off = drawn - mean  # Welford's way, without differences of large squares
            mean = mean + off / (sample + 1)
            squares = squares + off * (drawn - mean)
        spread = (squares / self.parameters.samples).sqrt()
        return mean.clamp(min=float(ends.min())).numpy(), spread.numpy()

    def _sample(self, ends: torch.Tensor, fractions: torch.Tensor, seed: int) -> torch.Tensor:
        import torch

        from STEnhanceLib import models
        from STEnhanceLib.networks.tssc_net import volumes_between

        def compute(network, where, largest):
            with device.half_precision(where):  # the second stage takes a quarter of the time
                drawn = volumes_between(
                    network,
                    models.load(self.names[1], where) if len(self.names) > 1 else None,
                    ends.to(where),
                    fractions,
                    steps=self.parameters.steps,
                    generator=torch.Generator().manual_seed(seed),
                    at_once=max(1, largest // (TOKENS * len(fractions) * ends[0, 0].numel())),
                    on_step=lambda done, of: progress.tell(f"step {done} of {of}", done / of),
                )
            return drawn.float().cpu()

        return self.placement.run(self.names[0], compute)


METHOD = Method(
    key="tssc-net",
    title="TSSC-Net",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Invents plausible frames where tissue moves too far to be followed, such as a bending knee.",
    parameters=TsscParameters,
    enhance=enhance,
    reference="Zhou et al.: A diffusion-driven temporal super-resolution and spatial consistency enhancement framework "
    "for 4D MRI imaging. MICCAI 2025 (arXiv 2506.04116).",
    requires=("torch", "safetensors"),
    models=(STAGE1, STAGE2),
    generative=True,
    preview_frames=2,
    rank=70,
)
