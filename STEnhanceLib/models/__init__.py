"""Trained networks as bundles: found by name, checked before they are opened, described by a card.

    Resources/Models/edsr-x4/configs/metadata.json       what it is, expects, was trained on, reached, and cannot do
                             models/model.safetensors    its weights in half precision
                             docs/README.md              the card, made from the metadata

Users add bundles of their own, in folders that the environment variable STENHANCE_MODELS names. Where two bundles have
one name, the user's counts.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.models.bundle import METADATA, Model, read_bundle
from STEnhanceLib.models.saving import save, update_scores
from STEnhanceLib.models.weights import load_weights

__all__ = ["Model", "alike", "all_models", "find_model", "load", "read_bundle", "save", "update_scores"]

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "Resources" / "Models"
VARIABLE = "STENHANCE_MODELS"

_loaded: dict[tuple[str, str], tuple[Model, Any]] = {}  # (name, device) -> model, network


def all_models() -> Mapping[str, Model]:
    """Every model whose metadata can be read, by its name; why another one cannot is logged."""
    models = {}
    for name, folder in sorted(_folders().items()):
        try:
            models[name] = read_bundle(folder)
        except STEnhanceError as error:
            logger.warning("%s", error)
    return models


def find_model(name: str, network: str | None = None) -> Model:
    """The model of this name; its weights are not touched.

    Args:
        name: of the bundle's folder.
        network: a name of `networks.NETWORKS`; refuses models of another architecture.

    Raises:
        STEnhanceError: there is none, its metadata is unusable, or it is of another architecture.
    """
    folders = _folders()
    if name not in folders:
        raise STEnhanceError(
            f"There is no model {name!r} in {' or '.join(map(str, _places()))}; there are: "
            f"{', '.join(sorted(folders)) or 'none'}. Add its folder, or name another model."
        )
    model = read_bundle(folders[name])
    if network not in (None, model.architecture["network"]):
        raise STEnhanceError(
            f"The model {name} is a network of the kind {model.architecture['network']!r}; expected {network!r}. "
            "Name a model that was trained for this method."
        )
    return model


def alike(names: Iterable[str]) -> list[str]:
    """These models, then all others of the same task and architecture as one of them, which could take its place."""
    models, names = all_models(), list(names)
    kinds = {name: (model.metadata["task"], model.architecture["network"]) for name, model in models.items()}
    wanted = {kinds[name] for name in names if name in kinds}
    return names + [name for name in models if name not in names and kinds[name] in wanted]


def load(name: str, device: str = "cpu"):
    """The network of a model with its weights, as float32 and ready to infer; loaded once per device.

    Callers share it, so they leave it as it is.

    Returns:
        a `torch.nn.Module` in eval mode.

    Raises:
        STEnhanceError: there is no such model, or its bundle is broken, incomplete, altered or from a newer version.
    """
    model = find_model(name)
    key = (name, str(device))
    if key not in _loaded or _loaded[key][0] != model:  # the user may have put another one in its place
        import torch

        with torch.inference_mode(False):  # whoever asks first, gradients must pass through it for others
            _loaded[key] = model, load_weights(model).to(device)
    return _loaded[key][1]


def _places() -> list[Path]:
    """Where bundles are looked for; what comes first counts."""
    return [*(Path(place).expanduser() for place in os.environ.get(VARIABLE, "").split(os.pathsep) if place), SHIPPED]


def _folders() -> dict[str, Path]:
    """The folders of all bundles by their names."""
    found = {}
    for place in reversed(_places()):
        _warn_where_nothing_is(place)
        found |= {path.parents[1].name: path.parents[1] for path in place.glob(f"*/{METADATA}")}
    return found


@functools.lru_cache(maxsize=64)  # once is enough
def _warn_where_nothing_is(place: Path) -> None:
    if not place.is_dir():
        logger.warning("%s names %s, which is no folder: models of that place are not used.", VARIABLE, place)
