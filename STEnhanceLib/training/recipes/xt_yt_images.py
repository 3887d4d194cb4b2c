"""The xt/yt U-Net on images alone, as published in 2020, by residual learning."""

from STEnhanceLib.training.exercises.spoilt_cines import SpoiltCines
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="xt-yt-images",
    title="xt/yt U-Net on images, residual learning",
    network="xt-yt-unet",
    configuration={
        "channels": 1,
        "features": 16,
        "stages": 3,
        "convolutions": 2,
        "fold": 2,
        "frequencies": False,
        "residual": True,
    },
    exercise=SpoiltCines,
    steps=1_500,
    learning_rate=4e-3,
    card=Card(
        task="artefact reduction",
        intended_use="Research: cines with streaks or aliasing of which no k-space is at hand.",
        network_data_format={
            "inputs": "(1, T, J, I) float32 magnitude images of one slice",
            "outputs": "(1, T, J, I) float32",
            "intensity": "divided by the 99.9th percentile of the average over time",
            "grid": "any",
        },
        limits=(
            "Nothing holds the result to the measurement: what it removes or adds cannot be checked.",
            "Trained on short-axis cardiac cines of 1.5 T (bSSFP) with simulated artefacts of interleaved Cartesian "
            "lines and of golden-angle spokes only.",
            "The model has learnt from closed cycles; where a sequence is none, its end is mirrored by up to three "
            "frames.",
        ),
        citation="Kofler et al., IEEE TMI 2020; 39:703-717 (arXiv 1904.01574).",
    ),
)
