"""Joint space-time diffusion as a whole: from images that motion has brought to a moment to sharp ones of that moment.

Dubey: Joint spatio-temporal super-resolution with latent diffusion. 2024 (arXiv 2410.23898). As published, it
interpolates in time by optical flow, shifts the residual in the latents of a vector-quantised autoencoder in 15 steps,
and predicts the truth at each. Autoencoder and network are of our own, and flow is replaced by registration.

The image is not what the autoencoder makes of the latents that were found, but the zero-filled image and the difference
to what it makes of the latents that the shift started from. So what was measured does not suffer from the autoencoder,
and a network that finds nothing changes nothing. Latents are not rounded to codes once more before they are decoded, as
that would only add noise, and make the result jump where two codes are equally near.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from STEnhanceLib.networks import residual_shift
from STEnhanceLib.networks.latent_unet import LatentUnet
from STEnhanceLib.networks.padding import padded
from STEnhanceLib.networks.vq_autoencoder import FOLD, VqAutoencoder


@torch.no_grad()
def drawn(  # noqa: PLR0917  (networks, what they are given, chance)
    autoencoder: VqAutoencoder,
    denoiser: LatentUnet,
    images: torch.Tensor,
    fraction: torch.Tensor,
    support: torch.Tensor,
    noise: torch.Tensor,
    *,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """Sharp images of a moment.

    Args:
        autoencoder, denoiser: where the images are.
        images: (B, 3, J, I) see `LatentUnet`, on an intensity scale of about 1.
        fraction, support: see `LatentUnet`.
        noise: (steps, B, channels, *`latent_size`).
        on_step: told how many of how many steps are done.

    Returns:
        (B, 1, J, I) float32
    """
    rows, columns = images.shape[-2:]
    images = padded(images, FOLD * denoiser.multiple)
    start = start_of(autoencoder, images)

    def predict(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return denoiser(x, level, start, images, fraction, support)

    latents = residual_shift.sample(predict, start, noise, on_step)
    with torch.autocast(images.device.type, enabled=False):
        return sharpened(autoencoder, images, start, latents)[..., :rows, :columns]


def start_of(autoencoder: VqAutoencoder, images: torch.Tensor) -> torch.Tensor:
    """The latents (B, C, j, i) of the moment itself."""
    with torch.autocast(images.device.type, enabled=False), torch.no_grad():
        return autoencoder.encode(images[:, :1])


def sharpened(
    autoencoder: VqAutoencoder, images: torch.Tensor, start: torch.Tensor, latents: torch.Tensor
) -> torch.Tensor:
    """The moment itself, (B, 1, J, I), changed as its latents were from `start` to `latents`."""
    with torch.no_grad():
        before = autoencoder.decode(start)
    return images[:, :1] + (autoencoder.decode(latents) - before)


def latent_size(denoiser: LatentUnet, shape_ji: tuple[int, int]) -> tuple[int, int]:
    """Of the latents of images, edges included that are cut off in the end."""
    unit = FOLD * denoiser.multiple
    return tuple(-(-n // unit) * denoiser.multiple for n in shape_ji)
