"""`stenhance train`: make the weights of a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from STEnhanceLib import device
from STEnhanceLib.commands import terminal
from STEnhanceLib.errors import STEnhanceError

HELP = "make a model by its recipe (needs the `train` extra)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Recipe, data and schedule."""
    parser.add_argument("recipe", metavar="RECIPE", help="name of the model; an unknown one lists all")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of 4D files and .npz stills")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets the model and its checkpoints")
    parser.add_argument("--steps", type=int, metavar="N", help="a shorter or longer schedule than the recipe's")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument("--start-from", metavar="MODEL", help="take over the weights of a model, to train it further")
    parser.add_argument("--licence", default="not stated", metavar="TEXT", help="of the data, for the model card")
    parser.add_argument("--device", choices=device.CHOICES, default=device.CHOICES[0], help="where torch computes")


def run(options: argparse.Namespace) -> None:
    """Train, and save the bundle."""
    try:
        import torch

        from STEnhanceLib.training import making
        from STEnhanceLib.training.recipe import find_recipe
    except ImportError as error:
        raise STEnhanceError(f"Training needs {error.name}; install with `pip install stenhance[train]`.") from None
    if not hasattr(torch.optim, "Muon"):
        raise STEnhanceError(
            f"Training needs torch 2.9 or newer, for its Muon optimizer; found {torch.__version__}. Install it with "
            "`pip install stenhance[train]`."
        )
    recipe = find_recipe(options.recipe)
    if options.steps is not None and options.steps < 1:
        raise STEnhanceError(f"--steps {options.steps} was given; expected at least 1.")
    making.check_folder(recipe, options.out)
    device.choose(options.device)
    with terminal.steps_progress(recipe.title) as on_step:
        model = making.make(
            recipe, options.data, options.out,
            device=torch.device(device.chosen()), steps=options.steps, seed=options.seed, licence=options.licence,
            start_from=options.start_from, on_step=on_step,
        )  # fmt: skip
    terminal.say_written(model.folder)
