"""STEnhance-SR in-plane: any factor from 1 to 5, with or without neighbours and prior."""

from STEnhanceLib.training.exercises.cine_frames import CineFrames
from STEnhanceLib.training.recipe import Card, Recipe

CITATION = (
    "STEnhance-SR. Trunk at low resolution: Shi et al., CVPR 2016 (arXiv 1609.05158); data consistency: Schlemper et "
    "al., IEEE TMI 2018 (arXiv 1704.02422)."
)

RECIPE = Recipe(
    name="stenhance-sr",
    title="STEnhance-SR, in-plane",
    network="stenhance-sr",
    configuration={"features": 64, "blocks": 11, "told_of_scan": True},
    exercise=CineFrames,
    steps=16_000,
    learning_rate=2e-3,
    card=Card(
        task="super-resolution",
        intended_use="Research: cines of low in-plane resolution, factors 1 to 5 per axis, with a sharp planning scan "
        "where there is one.",
        network_data_format={
            "inputs": "zero-filled frames t, t-1, t+1 aligned to t (B, 3, J, I); sharp prior aligned to t (B, 1, J, I) "
            "or zeros; measured share of k-space along J and I (B, 2); float32",
            "outputs": "(B, 1, J, I) float32, before data consistency",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "that of the zero-filled images: low sample n lies at index n · factor",
        },
        limits=(
            "Trained on short-axis cardiac cines and stills of 1.5 T (bSSFP) only; other anatomy, contrast and field "
            "strength were not tried.",
            "Data consistency holds the measured centre of k-space exactly, with its noise and with any filter that "
            "the scanner applied; switch it off for images with noise of 2 % or more, for filtered ones, and for "
            "averages of 3×3 pixels or more, but not of 2×2.",
            "Detail finer than the measurement is a guess from other patients and, where given, the planning scan.",
            "Factors above 5 were not trained.",
        ),
        citation=CITATION,
    ),
)
