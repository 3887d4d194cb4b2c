"""The spatio-temporal U-Net: a cine is cleaned as a pile of x–t and a pile of y–t slices, by one 2D network.

In those slices undersampling artefacts flicker along time while anatomy moves slowly, so that a small network suffices,
and one cine gives hundreds of them to learn from. Both results are averaged.

Kofler et al.: Spatio-temporal deep learning-based undersampling artefact reduction for 2D radial cine MRI with limited
training data. IEEE TMI 2020; 39:703-717 (arXiv 1904.01574): on the images themselves. Kofler et al.: An end-to-end-
trainable iterative network architecture for accelerated radial multi-coil 2D cine MR image reconstruction. Med Phys
2021; 48:2412-2425 (arXiv 2102.00783): without the temporal mean and after a Fourier transform along time, where a cine
is nearly empty.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

LEAK = 0.1
LEADING_BACK = 4  # frames from the last to the first; six are no better
AT_ONCE = 2**17  # folded pixels per call when nothing is learnt: what the caches of a processor hold


class XtYtUnet(nn.Module):
    """Cleans cines.

    Args:
        channels: 2 for complex images (real and imaginary parts), 1 for magnitude images.
        features: of the first stage; each further stage has twice as many.
        stages: of the U-Net.
        convolutions: per stage on the way down and again on the way up.
        fold: so many neighbouring pixels along space become channels, which saves as much time.
        frequencies: work on temporal frequencies without the temporal mean (2021), else on the frames (2020).
        residual: the network predicts the artefacts, else the clean images (2020 only; without the mean there is always
            a residual).
    """

    def __init__(
        self,
        *,
        channels: int = 2,
        features: int = 16,
        stages: int = 3,
        convolutions: int = 2,
        fold: int = 2,
        frequencies: bool = True,
        residual: bool = True,
    ):
        super().__init__()
        if frequencies and channels != 2:
            raise ValueError(f"{channels} channels and temporal frequencies, which are complex and take 2")
        self.channels, self.fold, self.frequencies, self.residual = channels, fold, frequencies, residual
        self.multiple = 2 ** (stages - 1)
        widths = [features * 2**n for n in range(stages)]
        # Where a temporal frequency lies decides what is an artefact; convolutions alone could not tell.
        inputs = channels * fold + frequencies
        self.down = nn.ModuleList(
            _stage(before, width, convolutions) for before, width in zip([inputs, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 1, bias=False) for width in widths[:-1])
        self.merge = nn.ModuleList(_stage(2 * width, width, convolutions) for width in widths[:-1])
        self.last = nn.Conv2d(features, channels * fold, 1, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, LEAK)
        # Training of a residual starts close to the images as they are.
        self.gain = nn.Parameter(torch.tensor(0.1 if residual or frequencies else 1.0))

    def forward(self, images: torch.Tensor, periodic: bool = True) -> torch.Tensor:
        """(C, T, J, I) float32 to the same.

        What is not `periodic` is continued behind its last frame, so that its ends do not see each other: by its mirror
        image, which for temporal frequencies fades into that of its beginning.
        """
        if not periodic:
            longer = _led_back(images) if self.frequencies else _with_mirrored_end(images, self.multiple)
            return self(longer)[:, : images.shape[1]]
        if not self.frequencies:
            return self._averaged(images)
        mean = images.mean(1, keepdim=True)
        moving = _to_frequencies(images - mean)
        # What moves is faint beside the mean, in some cines more than in others.
        size = moving.detach().square().mean().sqrt().clamp_min(torch.finfo(moving.dtype).tiny)
        return mean + _from_frequencies(self._averaged(moving / size) * size)

    def _averaged(self, images: torch.Tensor) -> torch.Tensor:
        """Of planes (n, C, T, space) for every row, and of those for every column."""
        along_i, along_j = self._planes(images.permute(2, 0, 1, 3)), self._planes(images.permute(3, 0, 1, 2))
        return (along_i.permute(1, 2, 0, 3) + along_j.permute(1, 2, 3, 0)) / 2

    def _planes(self, planes: torch.Tensor) -> torch.Tensor:
        """(n, C, T, X) to the same, in chunks that fit the memory when nothing is learnt."""
        count, _, times, space = planes.shape
        at_once = count if torch.is_grad_enabled() else max(1, AT_ONCE * self.fold // (times * space))
        return torch.cat([self._cleaned(part) for part in planes.split(at_once)])

    def _cleaned(self, planes: torch.Tensor) -> torch.Tensor:
        *_, times, space = planes.shape
        x = self._folded(_padded(planes, self.multiple, self.fold * self.multiple))
        if self.frequencies:
            x = torch.cat([x, _distance_from_zero(times, x)], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)  # three times as fast for few features
        skipped = []
        for stage in self.down:
            if skipped:
                x = functional.avg_pool2d(x, 2)
            x = stage(x)
            skipped.append(x)
        for up, merge, skip in list(zip(self.up, self.merge, skipped, strict=False))[::-1]:
            x = functional.interpolate(up(x), scale_factor=2, mode="nearest")
            x = merge(torch.cat([x, skip], dim=1))
        found = self.gain * self._unfolded(self.last(x).float())[..., :times, :space]
        return planes + found if self.residual or self.frequencies else found

    def _folded(self, planes: torch.Tensor) -> torch.Tensor:
        """(n, C, T, X) to (n, C · fold, T, X / fold)."""
        return planes.unflatten(-1, (-1, self.fold)).movedim(-1, 2).flatten(1, 2)

    def _unfolded(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(1, (self.channels, self.fold)).movedim(2, -1).flatten(-2)


def as_channels(images: torch.Tensor) -> torch.Tensor:
    """(T, J, I) complex to (2, T, J, I) real and imaginary parts."""
    return torch.view_as_real(images).movedim(-1, 0)


def as_complex(channels: torch.Tensor) -> torch.Tensor:
    """(2, T, J, I) real and imaginary parts to (T, J, I) complex64."""
    return torch.complex(channels[0].float(), channels[1].float())


def _padded(planes: torch.Tensor, times: int, space: int) -> torch.Tensor:
    """(n, C, T, X) to multiples of `times` and `space`: along time from the other end, along space with the edge."""
    t, x = planes.shape[-2:]
    if t % times:
        planes = planes[:, :, torch.arange(t + -t % times, device=planes.device) % t]
    if x % space:
        planes = planes[..., torch.arange(x + -x % space, device=planes.device).clamp_max(x - 1)]
    return planes


def _led_back(images: torch.Tensor) -> torch.Tensor:
    """(C, T, J, I) and frames that lead from the last to the first: the mirrored end fades into the mirrored start."""
    times = images.shape[1]
    step = torch.arange(1, min(LEADING_BACK, times - 1) + 1, device=images.device)
    share = step / (len(step) + 1)
    share = (share.square() * (3 - 2 * share))[:, None, None]
    return torch.cat([images, images[:, times - 1 - step] * (1 - share) + images[:, step.flip(0)] * share], dim=1)


def _with_mirrored_end(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """(C, T, J, I) to a multiple of frames, the further ones as seen in a mirror behind the last one."""
    times = images.shape[1]
    index = torch.arange(times + -times % multiple, device=images.device) % max(2 * times - 2, 1)
    return images[:, torch.minimum(index, 2 * times - 2 - index).clamp_min(0)]


def _stage(before: int, width: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [
            nn.Conv2d(before if number == 0 else width, width, 3, padding=1, bias=False),
            nn.LeakyReLU(LEAK),
        ]
    return nn.Sequential(*layers)


def _to_frequencies(images: torch.Tensor) -> torch.Tensor:
    """(2, T, J, I) to its temporal frequencies, zero in the middle."""
    spectrum = torch.fft.fftshift(torch.fft.fft(as_complex(images), dim=0, norm="ortho"), dim=0)
    return as_channels(spectrum)


def _from_frequencies(channels: torch.Tensor) -> torch.Tensor:
    images = torch.fft.ifft(torch.fft.ifftshift(as_complex(channels), dim=0), dim=0, norm="ortho")
    return as_channels(images)


def _distance_from_zero(times: int, like: torch.Tensor) -> torch.Tensor:
    """(n, 1, T, X): 0 at frequency zero, 1 at the highest."""
    count, _, padded, space = like.shape
    frequency = (torch.arange(padded, device=like.device) - times // 2).abs() / max(times // 2, 1)
    return frequency.to(like).view(1, 1, -1, 1).expand(count, 1, -1, space)
