"""Joint space-time diffusion in the latents of the finished autoencoder."""

import torch

from STEnhanceLib.training.exercises.latent_moments import LatentMoments
from STEnhanceLib.training.recipe import Card, Recipe
from STEnhanceLib.training.stock import Stock

AUTOENCODER = "latent-autoencoder"


def _exercise(stock: Stock, device: torch.device) -> LatentMoments:
    from STEnhanceLib import models

    return LatentMoments(stock, device, models.load(AUTOENCODER, str(device)))


RECIPE = Recipe(
    name="latent-diffusion",
    title="Latent diffusion: joint 4× spatial and 8× temporal super-resolution",
    network="latent-unet",
    configuration={"channels": 12, "widths": [64, 96, 128], "blocks": 2, "told": 64},
    exercise=_exercise,
    steps=4_500,
    learning_rate=2e-3,
    card=Card(
        task="temporal interpolation",
        intended_use="Research: finer pixels, and frames between measured ones, with several samples to see where they "
        "are guessed.",
        network_data_format={
            "inputs": "(B, 12, J / 4, I / 4) float32 latents on the way and those of the moment, (B,) level, (B, 3, J, "
            "I) the zero-filled moment and the frames around it moved to it, (B,) fraction of the way between these, "
            "(B, 2) measured share of k-space along J and I",
            "outputs": "(B, 12, J / 4, I / 4) float32 latents of the sharp image, see latent-autoencoder",
            "intensity": "divided by the 99.9th percentile",
            "grid": "any; trained for up to 5 times finer pixels and up to 9 frames between two measured ones",
        },
        limits=(
            "What it adds to the measured images is generated: plausible, and not measured.",
            "Each slice is made alone.",
            "One step is nearer to the truth than the mean of several samples of more steps (st48: 0.1 dB for 4 steps, "
            "0.5 dB for 15), but tells nothing of how sure it is.",
            "Frames filled in by the motion engine and sharpened by STEnhance-SR are nearer to the truth (st48: by 0.5 "
            "and 0.7 dB), and so are measured frames sharpened by STEnhance-SR or EDSR: it is offered for its samples.",
            "Where samples agree, they may be wrong together: their spread was not calibrated.",
            "1.9 million weights, trained for minutes of one CPU core: a small fraction of the published network.",
            "Trained on two patients' short-axis cines, on still images in random motion, and on phantoms.",
        ),
        citation="Dubey: Joint spatio-temporal super-resolution with latent diffusion. 2024 (arXiv 2410.23898); Yue et "
        "al.: ResShift. NeurIPS 2023 (arXiv 2307.12348). Implemented and trained anew.",
    ),
)
