"""EDSR for the MRI-Linac, 2×."""

import functools

from STEnhanceLib.training.exercises.single_frames import SingleFrames
from STEnhanceLib.training.recipe import Recipe

RECIPE = Recipe(
    name="edsr-x2",
    title="EDSR 2× (r16f64)",
    network="edsr",
    configuration={"scale": 2, "blocks": 16, "features": 64},
    exercise=functools.partial(SingleFrames, scale=2),
    steps=2_500,
    learning_rate=5e-4,
)
