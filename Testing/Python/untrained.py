"""Small models of all learned super-resolution methods under the names of the shipped ones, with random weights."""

from __future__ import annotations

import importlib.util

import pytest
from learned import DESCRIPTION

from STEnhanceLib import models, networks

STENHANCE_SR = ("stenhance-sr", {"features": 8, "blocks": 2})
UNTRAINED = {
    "edsr-x2": ("edsr", {"scale": 2, "blocks": 2, "features": 8}),
    "edsr-x4": ("edsr", {"scale": 4, "blocks": 2, "features": 8}),
    "ddos-unet": ("ddos-unet", {"features": 4}),
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
