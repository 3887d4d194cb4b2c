"""A recipe says how one model is made: which network practises what, for how long."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.training.stock import Stock


class Exercise(Protocol):
    """What a network practises. Batches depend on the random generator alone, so a run can be taken up again."""

    def batch(self, rng: np.random.Generator) -> Any:
        """Make the input and the truth of one step."""

    def loss(self, network: torch.nn.Module, batch: Any, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """The mistake made on a batch; `progress` runs from 0 to 1 over the training."""

    def validate(self, network: torch.nn.Module) -> Mapping[str, float]:
        """Scores on the patient kept aside, and those of the baseline beside them."""


@dataclass(frozen=True)
class Card:
    """What the model card says whoever trains; see `models.bundle` for what each entry must hold."""

    task: str
    intended_use: str
    network_data_format: Mapping[str, str]
    limits: Sequence[str]
    citation: str


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        name: of the model, and of the recipe on the command line.
        title: for the card.
        network: key of `networks.NETWORKS`.
        configuration: arguments of the network.
        exercise: makes the exercise from the stock and the device.
        steps: of the full recipe.
        learning_rate: the largest of the one-cycle schedule.
        start_from: name of a model whose fitting weights are taken over.
        card: what the model card says.
        choose: what of the stock the exercise gets, or more; by default all that is in the folder.
        ships: its model comes with STEnhance; those of ablations do not.
    """

    name: str
    title: str
    network: str
    configuration: Mapping[str, Any]
    exercise: Callable[[Stock, torch.device], Exercise]
    steps: int
    learning_rate: float
    card: Card
    start_from: str | None = None
    choose: Callable[[Stock], Stock] = lambda stock: stock
    ships: bool = True


def all_recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name."""
    from STEnhanceLib.training import recipes

    modules = (
        importlib.import_module(f"{recipes.__name__}.{info.name}") for info in pkgutil.iter_modules(recipes.__path__)
    )
    return {module.RECIPE.name: module.RECIPE for module in modules}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        STEnhanceError: there is none; the message lists what there is.
    """
    found = all_recipes()
    if name not in found:
        raise STEnhanceError(f"There is no recipe {name!r}; there are: {', '.join(found)}.")
    return found[name]
