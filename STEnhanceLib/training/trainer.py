"""Trains a network by its recipe: one-cycle schedule, averaged weights, checkpoints that a later run takes up."""

from __future__ import annotations

import csv
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from STEnhanceLib import networks
from STEnhanceLib.device import half_precision
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.training import curves
from STEnhanceLib.training.optimization import OneCycle
from STEnhanceLib.training.recipe import Exercise, Recipe

logger = logging.getLogger(__name__)

CHECKPOINT, LOG, CURVES = "checkpoint.pt", "log.csv", "curves.png"
AVERAGE_OVER = 500  # steps, of the averaged weights
LARGEST_GRADIENT = 1.0


@dataclasses.dataclass
class Progress:
    """Where a training stands, as checkpoints keep it."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def train(
    recipe: Recipe,
    exercise: Exercise,
    folder: Path,
    *,
    device: torch.device,
    steps: int | None = None,
    seed: int = 0,
    start_from: Mapping[str, torch.Tensor] | None = None,
    checks: int = 20,
    on_step: Callable[[int, int, str], None] = lambda done, total, now: None,
) -> tuple[torch.nn.Module, Progress]:
    """Train to the end of the schedule; a checkpoint in the folder is taken up where it stopped.

    Args:
        folder: gets `checkpoint.pt`, `log.csv` and `curves.png`.
        steps: of the whole schedule; by default the recipe's.
        seed: of weights and batches. Batch n is the same in every run, on every device, and after a resume.
        start_from: weights of another model; those that fit are taken over.
        checks: how often to validate and save over the whole schedule.

    Returns:
        the network with averaged weights, and how it came about.

    Raises:
        STEnhanceError: the checkpoint belongs to another recipe, length or seed, or the loss is no number.
    """
    steps = steps or recipe.steps
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = networks.build(recipe.network, recipe.configuration).to(device)
    if start_from:
        _take_over(network, start_from)
    averaged = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=_average)
    optimization = OneCycle(network, recipe.learning_rate, steps)
    state = {"network": network, "averaged": averaged, "optimization": optimization}
    plan = {"recipe": recipe.name, "steps": steps, "seed": seed}
    progress = _take_up(folder / CHECKPOINT, plan, state)
    every = max(1, steps // checks)
    recent: list[float] = []
    # Convolutions only: batches, data consistency and losses keep single precision.
    mixed = half_precision(device)(network)
    clock = time.perf_counter()
    while progress.step < steps:
        rng = np.random.default_rng((seed, progress.step))
        network.train()
        loss = exercise.loss(mixed, exercise.batch(rng), progress.step / steps, rng)
        if not torch.isfinite(loss):
            raise STEnhanceError(
                f"{recipe.name}: the loss is {loss.item()} at step {progress.step}; expected a number. Lower the "
                f"learning rate of the recipe, delete {CHECKPOINT}, and start anew."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimization.step()
        averaged.update_parameters(network)
        recent.append(loss.item())
        progress.step += 1
        if progress.step % every == 0 or progress.step == steps:
            now = time.perf_counter()
            progress.seconds += now - clock
            row = {"step": progress.step, "loss": float(np.mean(recent)), "learning_rate": optimization.learning_rate}
            progress.history.append({**row, "seconds": progress.seconds, **_validate(exercise, averaged.module)})
            recent.clear()
            _save(folder, plan, state, progress)
            logger.info("%s", progress.history[-1])
            clock = time.perf_counter()
        on_step(progress.step, steps, f"loss {np.mean(recent[-50:] or [progress.history[-1]['loss']]):.4f}")
    return averaged.module.eval(), progress


@torch.no_grad()
def _average(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor) -> None:
    """Exponential moving average, over few steps at first and over `AVERAGE_OVER` later."""
    weight = max(1 / AVERAGE_OVER, 9 / (10 + float(count)))
    torch._foreach_lerp_(averaged, current, weight)


@torch.no_grad()
def _validate(exercise: Exercise, network: torch.nn.Module) -> dict[str, float]:
    network.eval()
    return dict(exercise.validate(network))


def _take_over(network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    own = network.state_dict()
    fitting = {name: values for name, values in weights.items() if name in own and own[name].shape == values.shape}
    network.load_state_dict(fitting, strict=False)


def _take_up(path: Path, plan: Mapping[str, Any], state: Mapping[str, Any]) -> Progress:
    if not path.exists():
        return Progress()
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["plan"] != dict(plan):
        raise STEnhanceError(
            f"{path} was made by {saved['plan']}; expected {dict(plan)}. Choose another folder, or delete it to "
            "start anew."
        )
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return Progress(**saved["progress"])


def _save(folder: Path, plan: Mapping[str, Any], state: Mapping[str, Any], progress: Progress) -> None:
    unfinished = folder / (CHECKPOINT + ".part")
    parts = {name: part.state_dict() for name, part in state.items()}
    torch.save({"plan": dict(plan), "progress": dataclasses.asdict(progress), **parts}, unfinished)
    unfinished.replace(folder / CHECKPOINT)
    with (folder / LOG).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in progress.history for name in row)))
        writer.writeheader()
        writer.writerows(progress.history)
    curves.draw(progress.history, folder / CURVES)
