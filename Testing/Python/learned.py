"""A model that is small and a method that computes with it, for the tests of models, command line and panel."""

from __future__ import annotations

import dataclasses

import pytest

from STEnhanceLib import models, networks
from STEnhanceLib.methods import EnhancedFrame, Enhancement, Method, Need, Task, all_methods
from STEnhanceLib.methods.declaration import parameter

NAME, CONFIGURATION = "tiny-x2", {"scale": 2, "blocks": 1, "features": 4}
DESCRIPTION = {
    "version": "1.2",
    "title": "A tiny EDSR",
    "task": "super-resolution",
    "intended_use": "Shows what a bundle is; its weights were never trained.",
    "network_data_format": {
        "inputs": "(B, 1, h, w) magnitude",
        "outputs": "(B, 1, 2h, 2w)",
        "intensity": "divided by the 99.9th percentile",
        "grid": "first samples coincide",
    },
    "training": {
        "recipe": "none",
        "data": "no data at all",
        "data_licence": "CC0-1.0",
        "held_out_cases": ["somebody"],
        "steps": 0,
        "seed": 5,
        "device": "CPU",
        "minutes": 0.0,
        "validation": {"psnr": 30.1234},
    },
    "scores": [],
    "limits": ["It was never trained."],
    "citation": "Nobody: On nothing. 2026.",
    "copyright": "Copyright 2026 the authors of STEnhance.",
    "licence": "Apache-2.0",
}


@dataclasses.dataclass(frozen=True)
class Choice:
    model: str = parameter("", "Name of another model to compute with.")


def learned(sequence, choice, prior):
    """Multiplies with a number that it takes from its model, and notes what it was given."""
    name = choice.model or NAME

    def frames():
        network = models.load(name)
        for frame in sequence.frames:
            yield EnhancedFrame(frame * float(network.head.bias[0]), float("nan"))

    given = "without a prior" if prior is None else f"prior of {len(prior)} frame"
    return Enhancement(sequence.grid, frames(), (given,), models=(name,))


LEARNED = Method(
    key="test-learned",
    title="Learned",
    task=Task.SUPER_RESOLUTION,
    summary="Takes a prior where there is one.",
    parameters=Choice,
    enhance=learned,
    reference="none",
    uses=(Need.PRIOR,),
    requires=("torch", "safetensors"),
    models=(NAME,),
)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """The folder of a bundle among the user's models."""
    folder = tmp_path / "own models" / NAME
    save_tiny(folder)
    monkeypatch.setenv(models.VARIABLE, str(folder.parent))
    monkeypatch.setattr(models, "_loaded", {})  # as in a fresh process
    return folder


def tiny():
    """A small EDSR; always the same one."""
    import torch

    torch.manual_seed(5)
    return networks.build("edsr", CONFIGURATION)


def save_tiny(folder, **described):
    """It as a bundle that is called like its folder."""
    return models.save(folder, tiny(), folder.name, "edsr", CONFIGURATION, DESCRIPTION | described)


@pytest.fixture
def learned_method(monkeypatch):
    """The method above among those that a user can pick."""
    monkeypatch.setitem(all_methods(), LEARNED.key, LEARNED)
    return LEARNED
