"""Plain torch modules, one file per published system; without files, geometry or units."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from STEnhanceLib.errors import STEnhanceError

if TYPE_CHECKING:
    import torch

NETWORKS = {
    "edsr": "edsr:Edsr",
    "ddos-unet": "ddos_unet:DdosUnet",
    "stenhance-sr": "stenhance_sr:StenhanceSr",
    "k-space-cnn": "kspace_cnn:KSpaceCnn",
    "k-space-cnn-published": "kspace_cnn:PublishedKSpaceCnn",
    "xt-yt-unet": "xt_yt_unet:XtYtUnet",
    "xt-yt-cascade": "xt_yt_cascade:XtYtCascade",
    "band-denoiser": "band_denoiser:BandDenoiser",
    "diffusion-transformer": "diffusion_transformer:DiffusionTransformer",
    "flow": "flow:FlowNetwork",
    "tri-mamba": "tri_mamba:TriMamba",
    "vq-autoencoder": "vq_autoencoder:VqAutoencoder",
    "latent-unet": "latent_unet:LatentUnet",
}


def build(name: str, configuration: Mapping[str, Any]) -> torch.nn.Module:
    """The network of this name with freshly initialised weights; `configuration` holds the arguments of its class.

    Raises:
        STEnhanceError: there is no such network, or it has no such argument.
    """
    if name not in NETWORKS:
        raise STEnhanceError(f"There is no network {name!r}; this version knows: {', '.join(NETWORKS)}.")
    module, class_name = NETWORKS[name].split(":")
    network_class = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    try:
        return network_class(**configuration)
    except (TypeError, ValueError) as error:
        raise STEnhanceError(f"The network {name} cannot be built as {dict(configuration)}: {error}.") from None
