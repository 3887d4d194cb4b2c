"""What two modules share of the joint space-time diffusion: moments that motion brings about, drawn several times."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import learned, output_times
from STEnhanceLib.methods.declaration import Task, parameter
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.sampling import Samples, note_on_spread, number_of_samples, seed_of
from STEnhanceLib.methods.tiles import chunks
from STEnhanceLib.models import find_model
from STEnhanceLib.motion import STIFFNESS
from STEnhanceLib.motion.course import Place
from STEnhanceLib.sequence import Grid

if TYPE_CHECKING:
    import torch

DENOISER, AUTOENCODER = "latent-diffusion", "latent-autoencoder"
NETWORK = "latent-unet"
MODELS = (DENOISER, AUTOENCODER)
MOST_TRAINED = 5  # in-plane
CHANNELS = 12  # of latents, where a model does not say
KEPT = 6  # frames on the finer grid: more than a moment lies among
GENERATED = "Detail that the measurement does not hold was generated: plausible, and not measured."
REFERENCE = (
    "Dubey: Joint spatio-temporal super-resolution with latent diffusion. 2024 (arXiv 2410.23898). Yue, Wang, Loy: "
    "ResShift: Efficient diffusion model for image super-resolution by residual shifting. NeurIPS 2023."
)


@dataclass(frozen=True)
class Draws(Samples):
    """How samples are drawn."""

    samples: int = number_of_samples(4)
    steps: int = parameter(
        4,
        "Steps of the diffusion; 1 gives its best guess of the mean, more draw finer detail; 15 as published.",
        minimum=1,
        maximum=15,
    )

    @property
    def notes(self) -> list[str]:
        """For the result."""
        return [GENERATED, self.note(self.steps)]


class Wanted(NamedTuple):
    """A moment to draw.

    Attributes:
        frames: on the path of the tissue, see `MovingFrames.at`.
        time_ms: when; that of one of the frames where it was measured.
        fraction: of the way between the frames before and after; 0 for a measured one.
    """

    frames: Sequence[Place]
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


def chosen_model(wanted: str) -> str:
    """The name of the model to compute with.

    Raises:
        STEnhanceError: there is no such model, or it was trained with another autoencoder.
    """
    model = learned.chosen_model(wanted, DENOISER, NETWORK, Task.TEMPORAL_INTERPOLATION)
    its, ours = (
        find_model(name).architecture["configuration"].get("channels", CHANNELS) for name in (model, AUTOENCODER)
    )
    if its != ours:
        raise STEnhanceError(
            f"The model {model} takes latents of {its} channels, and {AUTOENCODER} makes {ours}; expected a model that "
            f"was trained with this autoencoder. Name another one, or add its own as {AUTOENCODER}."
        )
    return model


def wanted_at(grid: Grid, frames: Iterable[int], time_ms: float, fraction: float) -> Wanted:
    """A moment among those of the frames that there are; in a cycle there are all, of this one or the next."""
    return Wanted(output_times.path_through(frames, grid), time_ms, fraction)


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
    from STEnhanceLib.motion.trajectories import MovingFrames

    placement, spreads = Placement(notes), []

    @functools.lru_cache(maxsize=KEPT)
    def zero_filled(frame: int) -> np.ndarray:
        return zero_fill(measured(frame), fine.shape[1:]) / np.float32(scale)

    frames = _WhenNeeded((len(fine), *fine.shape), zero_filled)
    moving = MovingFrames(frames, fine.spacing_mm, STIFFNESS, device.chosen(), scale=1.0)
    for moment in wanted:
        images = around(moving, moment.frames, moment.time_ms)
        here = next((place.frame for place in moment.frames if place.time_ms == moment.time_ms), None)
        low = measured(moment.frames[0].frame if here is None else here) / np.float32(scale)
        support = [small / large for small, large in zip(low.shape[1:], fine.shape[1:], strict=True)]
        kept = low if consistent and here is not None else None
        mean, spread = _samples(placement, model, images, moment.fraction, support, draws, kept)
        spreads.append(100 * float(spread.mean()))
        yield Drawn(*(voxels * np.float32(scale) for voxels in (mean, spread, images[0])))
    if draws.samples > 1 and spreads:
        notes.append(note_on_spread(spreads))


@dataclass(frozen=True)
class _WhenNeeded:
    """Frames for `MovingFrames`: what comes later may still be on its way, and what was before need not stay."""

    shape: tuple[int, int, int, int]
    frame: Callable[[int], np.ndarray]

    def __getitem__(self, index: int) -> np.ndarray:
        return self.frame(index)


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
        means, spreads, samples = [], [], []
        wanted = list(itertools.product(range(images.shape[1]), range(count)))
        parts = list(chunks(len(wanted), shape_ji[0] * shape_ji[1], largest))
        for number, part in enumerate(parts):
            slices = [k for k, _ in wanted[part]]
            some = torch.from_numpy(images[:, slices]).to(where).transpose(0, 1).contiguous()
            # The same in every frame, so that what is made up does not flicker.
            noise = torch.stack([_noise(size, draws.seed, *each) for each in wanted[part]], dim=1)
            with progress.part(number, len(parts), "part"), device.half_precision(where):
                found = latent_diffusion.drawn(
                    autoencoder, network, some, some.new_full((len(some),), fraction),
                    some.new_tensor([support]).expand(len(some), 2), noise.to(where), on_step=_tell,
                )  # fmt: skip
            if kept is not None:
                found = replace_centre(found, torch.from_numpy(kept[slices, None]).to(where))
            samples.extend(found[:, 0].cpu())
            while len(samples) >= count:
                of_slice, samples = torch.stack(samples[:count]), samples[count:]
                means.append(of_slice.mean(dim=0))
                spreads.append(of_slice.std(dim=0, correction=0))
        return torch.stack(means).numpy(), torch.stack(spreads).numpy()

    return placement.run(model, step)


def _noise(size: tuple[int, ...], *numbers: int) -> torch.Tensor:
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(seed_of(*numbers)))


def _tell(done: int, total: int) -> None:
    progress.tell(f"step {done} of {total}", done / total)
