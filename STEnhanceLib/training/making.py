"""From a recipe and a folder of images to a model bundle: what `stenhance train` does."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path

import torch

import STEnhanceLib
from STEnhanceLib import models
from STEnhanceLib.device import half_precision_pays
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.models import Model
from STEnhanceLib.training import stock as stocks
from STEnhanceLib.training import trainer
from STEnhanceLib.training.recipe import Recipe

UNSTATED = "not stated"


def make(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    device: torch.device,
    steps: int | None = None,
    seed: int = 0,
    licence: str = UNSTATED,
    start_from: str | None = None,
    on_step: Callable[[int, int, str], None] = lambda done, total, now: None,
) -> Model:
    """Train and write the bundle `out/NAME`; checkpoints, log and curves lie in `out/NAME-training`.

    Run again with the same arguments, it goes on where it stopped. Models that a recipe starts from or compares with
    are found as methods find theirs: with STENHANCE_MODELS=out, those just trained.

    Args:
        data: folder of 4D files and stills, see `stock.load`.
        licence: of the data, for the card.
        start_from: name of a model whose fitting weights are taken over, in place of the recipe's.

    Raises:
        STEnhanceError: nothing to learn from, a model that the recipe builds on is missing, or the training failed.
    """
    stock = recipe.choose(stocks.load(data))
    start_from = start_from or recipe.start_from
    weights = models.load(start_from).state_dict() if start_from else None
    exercise = recipe.exercise(stock, device)
    network, progress = trainer.train(
        recipe, exercise, out / f"{recipe.name}-training",
        device=device, steps=steps, seed=seed, start_from=weights, on_step=on_step,
    )  # fmt: skip
    done = progress.history[-1]
    training = {
        "recipe": f"stenhance train {recipe.name}",
        "data": stock.words(),
        "data_licence": licence,
        "held_out_cases": [*stocks.TUNING, *stocks.TESTING],
        "steps": progress.step,
        "full_recipe_steps": recipe.steps,
        "seed": seed,
        "device": _words_for(device),
        "minutes": round(progress.seconds / 60, 1),
        "started_from": _identity(start_from) if start_from else None,
        "validation": {name: round(value, 4) for name, value in done.items() if name.startswith(("psnr", "ssim"))},
    }
    metadata = {
        "version": STEnhanceLib.__version__,
        "title": recipe.title,
        "scores": [],
        "copyright": "The STEnhance authors.",
        "licence": "Apache-2.0",
        **dataclasses.asdict(recipe.card),
        "training": training,
    }
    return models.save(out / recipe.name, network, recipe.name, recipe.network, recipe.configuration, metadata)


def check_folder(recipe: Recipe, out: Path) -> None:
    """Refuse to replace a bundle that this command did not make.

    Raises:
        STEnhanceError: there is a bundle of this name without the folder of its training beside it.
    """
    if (out / recipe.name).exists() and not (out / f"{recipe.name}-training").exists():
        raise STEnhanceError(f"{out / recipe.name} exists already and would be replaced; name another folder.")


def _identity(name: str) -> str:
    """A model by its name and checksum, with the steps of its training, since the same name may mean another one."""
    model = models.find_model(name)
    return f"{model.identity()}, {model.metadata['training'].get('steps', 0)} steps"


def _words_for(device: torch.device) -> str:
    precision = "bfloat16 convolutions" if half_precision_pays(device) else "single precision"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}), {threads} thread{'s' * (threads > 1)}, {precision}"
