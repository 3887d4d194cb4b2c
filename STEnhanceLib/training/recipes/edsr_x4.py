"""EDSR for the MRI-Linac, 4×."""

import functools

from STEnhanceLib.training.exercises.single_frames import SingleFrames
from STEnhanceLib.training.recipe import Recipe

RECIPE = Recipe(
    name="edsr-x4",
    title="EDSR 4× (r16f64)",
    network="edsr",
    configuration={"scale": 4, "blocks": 16, "features": 64},
    exercise=functools.partial(SingleFrames, scale=4),
    steps=5_000,
    learning_rate=5e-4,
    start_from="edsr-x2",  # the paper, too, trains 2× first
)
