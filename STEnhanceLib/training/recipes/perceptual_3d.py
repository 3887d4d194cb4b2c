"""The frozen network whose features DDoS-UNet's loss compares."""

from STEnhanceLib.training.exercises.perception import Restoration
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="perceptual-3d",
    title="3D features for a loss",
    network="ddos-unet",
    configuration={"features": 16, "inputs": 1},
    exercise=Restoration,
    steps=600,
    learning_rate=1e-3,
    card=Card(
        task="training",
        intended_use="Only inside the training of DDoS-UNet, as the network whose features its loss compares.",
        network_data_format={
            "inputs": "(B, 1, K, J, I) float32",
            "outputs": "features of three levels; its own output is a restored volume",
            "intensity": "about 1 at the 99.9th percentile",
            "grid": "that of the input",
        },
        limits=("Not meant for images that anyone looks at.",),
        citation="Chatterjee et al., IEEE Access 2024 (arXiv 2202.05355) compare features of a frozen 3D U-Net; this "
        "one is our own, trained to restore noisy volumes of low resolution.",
    ),
)
