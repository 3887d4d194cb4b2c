"""The autoencoder in whose latents the joint space-time diffusion works."""

from STEnhanceLib.training.exercises.coded_images import CodedImages
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="latent-autoencoder",
    title="Latent diffusion: vector-quantised autoencoder",
    network="vq-autoencoder",
    configuration={"channels": 12, "features": 64, "blocks": 3, "group": 2, "stages": 2, "codes": 256},
    exercise=CodedImages,
    steps=1_600,
    learning_rate=2.5e-3,
    card=Card(
        task="temporal interpolation",
        intended_use="Research: the latents that `latent-diffusion` makes, and images from them.",
        network_data_format={
            "inputs": "(B, 1, J, I) float32 magnitude",
            "outputs": "(B, 1, J, I) float32, and latents (B, 12, J / 4, I / 4) of mean 0 and size 1",
            "intensity": "divided by the 99.9th percentile",
            "grid": "any",
        },
        limits=(
            "What it cannot bring back, nothing that is made in its latents can show.",
            "Trained on short-axis cines, still images of the heart and phantoms; other anatomy comes back less well.",
        ),
        citation="Van den Oord et al.: Neural discrete representation learning. NeurIPS 2017 (arXiv 1711.00937); Lee "
        "et al.: residual quantization. CVPR 2022 (arXiv 2203.01941). Implemented and trained anew.",
    ),
)
