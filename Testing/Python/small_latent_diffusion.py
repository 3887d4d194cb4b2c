"""The joint space-time diffusion in small, and numbers to feed it."""

from __future__ import annotations

import torch

from STEnhanceLib.networks.latent_diffusion import drawn, latent_size
from STEnhanceLib.networks.latent_unet import LatentUnet
from STEnhanceLib.networks.vq_autoencoder import VqAutoencoder

CHANNELS = 4


def some(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def autoencoder(**configuration) -> VqAutoencoder:
    torch.manual_seed(4)
    return VqAutoencoder(**{"channels": CHANNELS, "features": 8, "blocks": 1, "codes": 16, **configuration}).eval()


def unet(trained: bool = True) -> LatentUnet:
    torch.manual_seed(2)
    network = LatentUnet(channels=CHANNELS, widths=(8, 12), blocks=1, told=8).eval()
    with torch.no_grad():
        for weight in network.parameters() if trained else ():
            if not weight.any():  # layers that start with nothing would hide what is before them
                weight.normal_(std=0.1)
    return network


def images_of(*shape_ji: int, count: int = 2) -> torch.Tensor:
    return 0.5 + 0.2 * some(count, 3, *shape_ji)


def sharp(denoiser, images: torch.Tensor, *, steps: int = 2, seed: int = 0, fraction: float = 0.5, **more):
    network = autoencoder()
    shape = (steps, len(images), CHANNELS, *latent_size(denoiser, images.shape[-2:]))
    told = torch.full((len(images),), fraction), torch.full((len(images), 2), 0.25)
    return drawn(network, denoiser, images, *told, some(*shape, seed=seed), **more)
