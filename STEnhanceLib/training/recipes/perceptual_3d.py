"""The frozen network whose features DDoS-UNet's loss compares."""

from STEnhanceLib.training.exercises.perception import Restoration
from STEnhanceLib.training.recipe import Recipe

RECIPE = Recipe(
    name="perceptual-3d",
    title="3D features for losses",
    network="ddos-unet",
    configuration={"features": 16, "inputs": 1},
    exercise=Restoration,
    steps=1_200,
    learning_rate=1e-3,
)
