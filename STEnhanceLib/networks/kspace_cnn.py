"""K-space CNN: completes undersampled Cartesian k-space, as published and in a form that works.

*As published*: real and imaginary parts of the k-space of one coil and one frame are two channels of a plain CNN that
completes them; the inverse Fourier transform follows. Nothing puts the measured samples back.

*Working form*: cascades of a small CNN on k-space and one on images, with the measurement put back after each of them,
and with the frames before and after as further channels. In k-space these hold lines that the frame itself lacks; from
cascade to cascade what was measured travels further through time.

K-space falls from its centre to its edge by four orders of magnitude. What convolutions see is divided by what cardiac
images fall by on average, a power of |k|, and their answer is multiplied with it again.

Published form: Petrimoulx, 2025, on completing the k-space of brain images; after Hyun et al., Phys Med Biol 2018;
63:135007. K-space and image in turn: Eo et al. (KIKI-net), Magn Reson Med 2018; 80:2188-2201. Data consistency:
Schlemper et al., IEEE TMI 2018 (arXiv 1704.02422); several coils: Aggarwal et al. (MoDL), IEEE TMI 2019; 38:394-405.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.acquisition.cartesian import CartesianOperator
from STEnhanceLib.acquisition.operators import conjugate_gradient

FRAMES = 3  # t, t-1, t+1
FOLD = 2  # so many pixels per side become channels: a quarter of the work
AT_ONCE = 2**17  # pixels in one pass; more of them only fill memory
# Root mean squares of spectra fall like (|k| + 0.05)^-2.7, |k| in cycles per pixel; the full power would lift the noise
# at the edge of k-space above all else.
KNEE, POWER, LEVEL = 0.05, 2.0, 100.0
STEPS_BETWEEN, STEPS_AT_THE_END = 4, 30  # of conjugate gradients at most, for several coils
# With several coils, samples disagree by their noise, and to meet them exactly would multiply it. How much the network
# counts is learnt for noise of 1 % of the brightness, and grows with its square from next to nothing.
USUAL_NOISE, USUAL_STRENGTH, LEAST_STRENGTH = 0.01, 0.3, 1e-4
PACE = 10.0  # of learning that strength, whose logarithm has further to go than other weights
CLOSE_ENOUGH = 1e-4  # residual of conjugate gradients, relative
OUTERMOST = 0.45  # cycles per pixel along the readout, from where samples are little but noise
RAYLEIGH_MEDIAN = 1.1774  # of magnitudes, over the standard deviation of the real part


class KSpaceCnn(nn.Module):
    """The working form.

    Args:
        cascades: how often k-space and image take turns.
        features: width of both CNNs.
        blocks: depth of the CNN on images: convolutions between its first and its last one; that on k-space has one.
    """

    def __init__(self, cascades: int = 4, features: int = 32, blocks: int = 3):
        super().__init__()
        self.on_kspace = nn.ModuleList(_cnn(3 * FRAMES, features, 1) for _ in range(cascades))
        self.on_images = nn.ModuleList(_cnn(2 * FRAMES, features, blocks) for _ in range(cascades))
        self.log_strengths = nn.Parameter(torch.zeros(cascades, 2))  # after each CNN

    def forward(
        self,
        operator: CartesianOperator,
        samples: torch.Tensor,
        around: torch.Tensor,
        on_block: Callable[[int, int], None] = lambda done, total: None,
    ) -> torch.Tensor:
        """Samples of one slice over time, or of many slices, to images.

        Args:
            operator: mask and coils; frames may have masks of their own.
            samples: (T, C, J, I) complex64, zero where nothing was measured; scaled so that bright images are about 1.
            around: (T, 2) indices of the frames before and after each frame; the frame itself where there is none.
            on_block: told after every cascade.

        Returns:
            (T, J, I) complex64. With one coil the measured samples are as they were; with several they are met up to
            their noise.
        """
        if samples.shape[1] == 1:
            consistent: _OneCoil | _SeveralCoils = _OneCoil(operator, samples)
        else:
            consistent = _SeveralCoils(operator, samples, self.log_strengths)
        measured = operator.mask[:, None, :, None].expand(-1, -1, -1, samples.shape[-1]).float()
        weight = spectral_weight(samples.shape[-2:], samples.device)
        images, last = consistent.start(), len(self.on_images) - 1
        spectrum = to_kspace(images)
        for cascade, (on_kspace, on_images) in enumerate(zip(self.on_kspace, self.on_images, strict=True)):
            change = _applied(on_kspace, _with_neighbours(spectrum * weight, around, measured))
            images = consistent.of_kspace(spectrum + change / weight, cascade)
            change = _applied(on_images, _with_neighbours(images, around))
            images, spectrum = consistent.of_images(images + change, cascade, last=cascade == last)
            on_block(cascade + 1, last + 1)
        return consistent.combined(images)


class PublishedKSpaceCnn(nn.Module):
    """As published: one CNN on the k-space of every coil and frame alone.

    Args:
        features, blocks: width, and how many convolutions lie between the first and the last one.
    """

    def __init__(self, features: int = 48, blocks: int = 4):
        super().__init__()
        self.on_kspace = _cnn(2, features, blocks, fold=1)

    def forward(
        self,
        operator: CartesianOperator,
        samples: torch.Tensor,
        around: torch.Tensor,
        on_block: Callable[[int, int], None] = lambda done, total: None,
    ) -> torch.Tensor:
        """As that of `KSpaceCnn`; neighbours are not looked at, and measured samples are what the CNN makes of them."""
        weight = spectral_weight(samples.shape[-2:], samples.device)
        change = _applied(self.on_kspace, _as_channels((samples * weight).flatten(0, 1)[:, None]), fold=1)
        on_block(1, 1)
        completed = samples + change.view_as(samples) / weight
        return (to_images(completed) * operator.coils.conj()).sum(1)


def neighbours(count: int, periodic: bool) -> torch.Tensor:
    """(T, 2) indices of the frames before and after each; at the ends of what is no cycle, the frame itself."""
    here = torch.arange(count)
    around = torch.stack([here - 1, here + 1], dim=1)
    return around % count if periodic else around.clamp(0, count - 1)


def spectral_weight(shape_ji: tuple[int, int], device: torch.device) -> torch.Tensor:
    """(J, I) by what k-space is multiplied before a convolution, so that its centre and its edge are of like size."""
    j, i = ((torch.arange(n, device=device) - n // 2) / n for n in shape_ji)
    return LEVEL * (torch.hypot(j[:, None], i[None]) + KNEE) ** POWER


def noise_level(samples: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(T,) standard deviation of the real part of noise, at most, from samples at both ends of the measured lines.

    Where these are 0, as scanners leave them that measured less than the matrix, the usual one is taken.
    """
    columns = samples.shape[-1]
    distance = (torch.arange(columns, device=samples.device) - columns // 2).abs() / columns
    magnitudes = samples[..., distance >= min(OUTERMOST, float(distance.max()))].abs()
    magnitudes = magnitudes.masked_fill(~mask[:, None, :, None] | (magnitudes == 0), torch.nan)
    return (magnitudes.flatten(1).nanmedian(dim=1).values / RAYLEIGH_MEDIAN).nan_to_num(USUAL_NOISE)


def to_kspace(images: torch.Tensor) -> torch.Tensor:
    """Centred, orthonormal Fourier transform of (…, J, I)."""
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(images, (-2, -1)), norm="ortho"), (-2, -1))


def to_images(spectrum: torch.Tensor) -> torch.Tensor:
    """Its inverse."""
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(spectrum, (-2, -1)), norm="ortho"), (-2, -1))


class _OneCoil:
    """Measured samples take the place of what the network made of them; images are those of the coil."""

    def __init__(self, operator: CartesianOperator, samples: torch.Tensor):
        self._mask, self._samples, self._coil = operator.mask[:, :, None], samples[:, 0], operator.coils[0]

    def start(self) -> torch.Tensor:
        return to_images(self._samples)

    def of_kspace(self, spectrum: torch.Tensor, cascade: int) -> torch.Tensor:
        return to_images(torch.where(self._mask, self._samples, spectrum))

    def of_images(self, images: torch.Tensor, cascade: int, *, last: bool) -> tuple[torch.Tensor, torch.Tensor]:
        spectrum = torch.where(self._mask, self._samples, to_kspace(images))
        return to_images(spectrum) if last else images, spectrum

    def combined(self, images: torch.Tensor) -> torch.Tensor:
        return images * self._coil.conj()


class _SeveralCoils:
    """Conjugate gradients balance the network and the samples of all coils, by the noise of these."""

    def __init__(self, operator: CartesianOperator, samples: torch.Tensor, log_strengths: torch.Tensor):
        self._operator, self._samples = operator, samples
        noise = noise_level(samples, operator.mask)[:, None, None] / USUAL_NOISE
        learnt = USUAL_STRENGTH * (PACE * log_strengths).exp()
        self._strengths = learnt[..., None, None, None] * noise.square() + LEAST_STRENGTH

    def start(self) -> torch.Tensor:
        return self._operator.adjoint(self._samples)

    def of_kspace(self, spectrum: torch.Tensor, cascade: int) -> torch.Tensor:
        return self._solved(to_images(spectrum), self._strengths[cascade, 0], STEPS_BETWEEN)

    def of_images(self, images: torch.Tensor, cascade: int, *, last: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images = self._solved(images, self._strengths[cascade, 1], STEPS_AT_THE_END if last else STEPS_BETWEEN)
        return images, to_kspace(images)

    def combined(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def _solved(self, images: torch.Tensor, strength: torch.Tensor, steps: int) -> torch.Tensor:
        return conjugate_gradient(
            self._operator, self._samples, images, strength, iterations=steps, tolerance=CLOSE_ENOUGH
        )


def _cnn(channels: int, features: int, blocks: int, fold: int = FOLD) -> nn.Sequential:
    """Plain convolutions; to the real and imaginary part of what is to be added."""
    layers: list[nn.Module] = [nn.Conv2d(channels * fold**2, features, 3, padding=1), nn.LeakyReLU(0.1)]
    for _ in range(blocks):
        layers += [nn.Conv2d(features, features, 3, padding=1), nn.LeakyReLU(0.1)]
    layers.append(nn.Conv2d(features, 2 * fold**2, 3, padding=1))
    nn.init.zeros_(layers[-1].weight)  # training starts from the zero-filled image
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)


def _with_neighbours(frames: torch.Tensor, around: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """(T, J, I) complex to (T, 6 or 9, J, I): real and imaginary parts, and masks where given, of t, t-1 and t+1."""
    channels = _as_channels(frames[:, None])
    if mask is not None:
        channels = torch.cat([channels, mask], dim=1)
    return torch.cat([channels, channels[around[:, 0]], channels[around[:, 1]]], dim=1)


def _as_channels(frames: torch.Tensor) -> torch.Tensor:
    """(N, 1, J, I) complex to (N, 2, J, I)."""
    return torch.cat([frames.real, frames.imag], dim=1)


def _applied(cnn: nn.Module, channels: torch.Tensor, fold: int = FOLD) -> torch.Tensor:
    """What a CNN on folded (N, C, J, I) answers: (N, J, I) complex64."""
    rows, columns = channels.shape[-2:]
    if rows % fold or columns % fold:
        channels = functional.pad(channels, (0, -columns % fold, 0, -rows % fold))
    answers = [
        functional.pixel_shuffle(cnn(functional.pixel_unshuffle(some, fold)), fold).float()
        for some in channels.split(max(1, AT_ONCE // (rows * columns)))
    ]
    real, imaginary = torch.cat(answers)[..., :rows, :columns].unbind(1)
    return torch.complex(real.contiguous(), imaginary.contiguous())
