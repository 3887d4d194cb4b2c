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
    steps=14_000,
    learning_rate=2e-3,
    card=Card(
        task="super-resolution",
        intended_use="Research: cines of low in-plane resolution as scanners show them, interpolated or not, factors 1 "
        "to 5 per axis from what was measured, with a sharp planning scan where there is one.",
        network_data_format={
            "inputs": "zero-filled frames t, t-1, t+1 aligned to t (B, 3, J, I); sharp prior aligned to t (B, 1, J, I) "
            "or zeros; measured share of k-space along J and I (B, 2); noise n as n / (n + 0.02) and by how much the "
            "scanner's filter had lowered the edge along J and I (B, 3); float32",
            "outputs": "(B, 1, J, I) float32, before data consistency",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "that of the zero-filled images of what was measured, the filter undone: measured sample "
            "n lies at index n · factor",
        },
        limits=(
            "Trained on short-axis cardiac cines and stills of 1.5 T (bSSFP) only; other anatomy, contrast and field "
            "strength were not tried.",
            "What was measured is found from images and header. Where that is wrong, so is the result: filters that "
            "lower k-space smoothly are found only in part, those that an unusual anatomy resembles are made up.",
            "Partial Fourier is not undone; averages of 3×3 pixels or more are better without data consistency.",
            "Detail finer than the measurement is a guess from other patients and, where given, the planning scan.",
            "Factors above 5 were not trained.",
        ),
        citation=CITATION,
    ),
)
