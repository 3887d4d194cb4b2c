"""STEnhance-SR across slices: 2 to 4 thin slices for a thick one."""

from STEnhanceLib.training.exercises.thick_planes import ThickPlanes
from STEnhanceLib.training.recipe import Recipe

RECIPE = Recipe(
    name="stenhance-sr-through-plane",
    title="STEnhance-SR, through-plane",
    network="stenhance-sr",
    configuration={"features": 32, "blocks": 6},
    exercise=ThickPlanes,
    steps=8_000,
    learning_rate=5e-4,
)
