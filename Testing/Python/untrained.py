"""Small models with random weights under the names of the shipped ones, and images for them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from learned import DESCRIPTION

from STEnhanceLib import models, networks
from STEnhanceLib.methods import Need, find_method, parse_parameters
from STEnhanceLib.methods.run import enhance_all
from STEnhanceLib.sequence import ImageSequence

STENHANCE_SR = ("stenhance-sr", {"features": 8, "blocks": 2})
SMALL_UNET = {"features": 4, "stages": 2, "convolutions": 1}
XT_YT = ("xt-yt-cascade", {"blocks": 2, **SMALL_UNET})
UNTRAINED = {
    "edsr-x2": ("edsr", {"scale": 2, "blocks": 2, "features": 8}),
    "edsr-x4": ("edsr", {"scale": 4, "blocks": 2, "features": 8}),
    "ddos-unet": ("ddos-unet", {"features": 4}),
    "frequency-split": ("band-denoiser", {"features": 8, "blocks": 2}),
    "k-space-cnn": ("k-space-cnn", {"cascades": 2, "features": 8, "blocks": 1}),
    "learned-motion": ("flow", {"features": 8, "width": 16, "refining": 4}),
    "k-space-cnn-published": ("k-space-cnn-published", {"features": 8, "blocks": 1}),
    "tssc-stage1": ("diffusion-transformer", {"width": 16, "blocks": 2, "heads": 2, "condition": 8}),
    "tssc-stage2": ("tri-mamba", {"features": 4, "blocks": 1, "states": 2}),
    "xt-yt-cartesian": XT_YT,
    "xt-yt-radial": XT_YT,
    "xt-yt-images": ("xt-yt-unet", {"channels": 1, **SMALL_UNET, "frequencies": False}),
    "xt-yt-images-direct": ("xt-yt-unet", {"channels": 1, **SMALL_UNET, "frequencies": False, "residual": False}),
    "latent-autoencoder": ("vq-autoencoder", {"channels": 4, "features": 8, "blocks": 1, "codes": 16}),
    "latent-diffusion": ("latent-unet", {"channels": 4, "widths": [8, 12], "blocks": 1, "told": 8}),
    "stenhance-sr": STENHANCE_SR,
    "stenhance-sr-through-plane": STENHANCE_SR,
}


def random_network(name):
    """It computes nearly what its kind does before training, which is some interpolation; always the same one."""
    import torch

    torch.manual_seed(3)
    network = networks.build(*UNTRAINED[name]).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1 and not weight.any():  # layers that start with nothing would hide what is before them
                weight.normal_(std=0.02)
    return network


@pytest.fixture(scope="session")
def untrained_folder(tmp_path_factory):
    """The folder with all of them, made once; empty where nothing could open them."""
    folder = tmp_path_factory.mktemp("untrained models")
    installed = all(importlib.util.find_spec(package) for package in ("torch", "safetensors"))
    for name, (kind, configuration) in UNTRAINED.items() if installed else ():
        models.save(folder / name, random_network(name), name, kind, configuration, DESCRIPTION)
    return folder


@pytest.fixture
def untrained(untrained_folder, monkeypatch):
    """They count instead of the shipped ones."""
    monkeypatch.setenv(models.VARIABLE, str(untrained_folder))
    return untrained_folder


def run(sequence: ImageSequence, key: str, prior: ImageSequence | None = None, **settings) -> ImageSequence:
    method = find_method(key)
    if prior is None and Need.PRIOR in method.needs:
        prior = sequence.with_frames([0])
    return enhance_all(method, sequence, parse_parameters(method, settings), prior=prior)


def smooth(*shape: int) -> np.ndarray:
    """Bright waves that a network of low resolution can tell, different in each frame and slice."""
    t, k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return (5 + np.cos(2 * np.pi * j / shape[2] + t + 0.3 * k) + np.sin(4 * np.pi * i / shape[3] - t)).astype(
        np.float32
    )


def sequence_of(frames: np.ndarray, ijk_to_ras=None, periodic: bool = False) -> ImageSequence:
    matrix = np.diag([1.0, 2.0, 8.0, 1.0]) if ijk_to_ras is None else ijk_to_ras
    return ImageSequence(frames, matrix, 40.0 * np.arange(len(frames)), periodic=periodic)
