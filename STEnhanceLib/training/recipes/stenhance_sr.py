"""STEnhance-SR in-plane: any factor from 1 to 5, with or without neighbours and prior."""

from STEnhanceLib.training.exercises.cine_frames import CineFrames
from STEnhanceLib.training.recipe import Recipe

RECIPE = Recipe(
    name="stenhance-sr",
    title="STEnhance-SR, in-plane",
    network="stenhance-sr",
    configuration={"features": 48, "blocks": 10},
    exercise=CineFrames,
    steps=16_000,
    learning_rate=5e-4,
)
