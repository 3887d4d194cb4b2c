"""What two modules share of the joint space-time diffusion: moments that motion brings about, drawn several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.methods.declaration import SideMap, parameter
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks
from STEnhanceLib.sequence import Grid

DENOISER, AUTOENCODER = "latent-diffusion", "latent-autoencoder"
NETWORK = "latent-unet"
MODELS = (DENOISER, AUTOENCODER)
MOST_TRAINED = 5  # in-plane
STIFFNESS = 0.01
SPREAD = SideMap("spread", "spread of the samples")
REFERENCE = (
    "Dubey: Joint spatio-temporal super-resolution with latent diffusion. 2024 (arXiv 2410.23898). Yue, Wang, Loy: "
    "ResShift: Efficient diffusion model for image super-resolution by residual shifting. NeurIPS 2023."
)


@dataclass(frozen=True)
class Draws:
    """How samples are drawn."""

    steps: int = parameter(
        4,
        "Steps of the diffusion; 1 gives its best guess of the mean, more draw finer detail; 15 as published.",
        minimum=1,
        maximum=15,
    )
    samples: int = parameter(
        4, "How many results are drawn; their mean is shown, and where they differ.", minimum=1, maximum=16
    )
    seed: int = parameter(0, "Of the noise; the same seed gives the same result.", minimum=0)

    @property
    def maps(self) -> tuple[SideMap, ...]:
        """One sample differs from none."""
        return (SPREAD,) if self.samples > 1 else ()

    def note(self) -> str:
        """For the result."""
        several = f"the mean of {self.samples} samples" if self.samples > 1 else "one sample"
        return (
            f"Detail that the measurement does not hold was generated: what is shown is {several} of {self.steps} "
            f"diffusion step{'s' * (self.steps > 1)} (seed {self.seed})."
        )


class Wanted(NamedTuple):
    """A moment to draw.

    Attributes:
        frames: on the path of the tissue, see `MovingFrames.at`; each with its time in ms.
        time_ms: when; that of one of the frames where it was measured.
        fraction: of the way between the frames before and after; 0 for a measured one.
    """

    frames: Sequence[tuple[int, float]]
    time_ms: float
    fraction: float


class Drawn(NamedTuple):
    """One moment, on the intensity scale of the input; (K, J, I) float32 each.

    Attributes:
        mean: of the samples.
        spread: their standard deviation.
        zero_filled: what motion and zero-filling alone make of the measurement.
    """

    mean: np.ndarray
    spread: np.ndarray
    zero_filled: np.ndarray


def path(grid: Grid, frames: Sequence[int]) -> list[tuple[int, float]]:
    """Those of the frames that there are, with their times; in a cycle there are all, of this one or the next."""
    found = []
    for n in frames:
        turn, frame = divmod(n, len(grid))
        if turn == 0:
            found.append((frame, float(grid.times_ms[frame])))
        elif grid.periodic:
            found.append((frame, float(grid.times_ms[frame] + turn * grid.period_ms)))
    return found


def drawn(  # noqa: PLR0917  (what is measured, what is wanted, how)
    measured: Callable[[int], np.ndarray],
    scale: float,
    fine: Grid,
    wanted: Sequence[Wanted],
    draws: Draws,
    model: str,
    notes: list[str],
    *,
    consistent: bool,
) -> Iterator[Drawn]:
    """The moments, one after the other.

    Args:
        measured: (K, j, i) magnitude of a frame of the input, by index.
        scale: what networks see as 1.
        fine: gives the finer voxels, and the number of input frames.
        wanted: the moments.
        draws: how.
        model: name of the bundle of the diffusion.
        notes: of the enhancement.
        consistent: put the measured frequencies of measured frames back into each sample.
    """
    from STEnhanceLib.acquisition.centre_crop import zero_fill
    from STEnhanceLib.motion.both_ends import around
    from STEnhanceLib.motion.course import Place
    from STEnhanceLib.motion.trajectories import MovingFrames

    placement, spreads = Placement(notes), []
    # On the scale of networks, and dark until they are needed, so that what comes later may still be on its way.
    frames = np.zeros((len(fine), *fine.shape), np.float32)
    filled: set[int] = set()
    moving = MovingFrames(frames, fine.spacing_mm, STIFFNESS, device.chosen())
    for moment in wanted:
        for frame, _ in moment.frames:
            if frame not in filled:
                frames[frame] = zero_fill(measured(frame), fine.shape[1:]) / np.float32(scale)
                filled.add(frame)
        images = around(moving, [Place(*place) for place in moment.frames], moment.time_ms)
        here = next((frame for frame, time_ms in moment.frames if time_ms == moment.time_ms), None)
        low = measured(moment.frames[0][0] if here is None else here) / np.float32(scale)
        support = [small / large for small, large in zip(low.shape[1:], fine.shape[1:], strict=True)]
        kept = low if consistent and here is not None else None
        mean, spread = _samples(placement, model, images, moment.fraction, support, draws, kept)
        spreads.append(100 * float(spread.mean()))
        yield Drawn(*(voxels * np.float32(scale) for voxels in (mean, spread, images[0])))
    if draws.samples > 1 and spreads:
        notes.append(
            f"Samples are spread by {np.mean(spreads):.2f} % of the 99.9th percentile on average over all voxels that "
            "were drawn; where they agree, they may still be wrong together."
        )


def _samples(  # noqa: PLR0917
    placement: Placement, model: str, images: np.ndarray, fraction: float, support: list[float], draws: Draws, kept
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (K, J, I) each, of (3, K, J, I) images."""
    import torch

    from STEnhanceLib import models
    from STEnhanceLib.acquisition.centre_crop_torch import replace_centre
    from STEnhanceLib.networks import latent_diffusion

    count, shape_ji = draws.samples, images.shape[2:]

    def step(network, where, largest):
        autoencoder = models.load(AUTOENCODER, where)
        size = (draws.steps, autoencoder.channels, *latent_diffusion.latent_size(network, shape_ji))
        means, spreads = [], []
        parts = list(chunks(images.shape[1], count * shape_ji[0] * shape_ji[1], largest))
        for number, part in enumerate(parts):
            some = torch.from_numpy(np.repeat(images[:, part].swapaxes(0, 1), count, axis=0)).to(where)
            slices = range(images.shape[1])[part]
            # The same in every frame, so that what is made up does not flicker.
            noise = torch.stack([_noise(size, draws.seed, k, n) for k in slices for n in range(count)], dim=1)
            with progress.part(number, len(parts), "part"), device.half_precision():
                found = latent_diffusion.drawn(
                    autoencoder, network, some, some.new_full((len(some),), fraction),
                    some.new_tensor([support]).expand(len(some), 2), noise.to(where), on_step=_tell,
                )  # fmt: skip
            if kept is not None:
                found = replace_centre(found, torch.from_numpy(kept[part, None]).to(where).repeat_interleave(count, 0))
            found = found.view(len(slices), count, *shape_ji)
            means.append(found.mean(dim=1).cpu())
            spreads.append(found.std(dim=1, correction=0).cpu())
        return torch.cat(means).numpy(), torch.cat(spreads).numpy()

    return placement.run(model, step)


def _noise(size: tuple[int, ...], *numbers: int):
    import torch

    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def _tell(done: int, total: int) -> None:
    progress.tell(f"step {done} of {total}", done / total)
