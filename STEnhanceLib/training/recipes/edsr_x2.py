"""EDSR for the MRI-Linac, 2×; and what its 4× form has in common with it."""

import functools

from STEnhanceLib.training.exercises.single_frames import SingleFrames
from STEnhanceLib.training.recipe import Card, Recipe


def edsr(scale: int, steps: int, start_from: str | None = None) -> Recipe:
    """The small published form for one scale, 2 or 4."""
    return Recipe(
        name=f"edsr-x{scale}",
        title=f"EDSR {scale}× (16 blocks of 64 features)",
        network="edsr",
        configuration={"scale": scale, "blocks": 16, "features": 64},
        exercise=functools.partial(SingleFrames, scale=scale),
        steps=steps,
        learning_rate=1.5e-3,
        start_from=start_from,
        card=Card(
            task="super-resolution",
            intended_use="Research: single magnitude frames of low in-plane resolution, as they come from a fast scan.",
            network_data_format={
                "inputs": "(B, 1, h, w) float32, one slice of one frame each",
                "outputs": f"(B, 1, {scale}h, {scale}w) float32",
                "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
                "grid": f"input sample n lies at output index {scale}n, as after a crop of k-space",
            },
            limits=(
                "Trained on short-axis cardiac cines and stills of 1.5 T (bSSFP) only; other anatomy, contrast and "
                "field strength were not tried.",
                "Nothing holds the result to the measured k-space, unless data consistency is switched on.",
                "Frames are treated one by one: noise that changes from frame to frame is sharpened as well.",
                "Detail finer than the measurement is a guess from other patients.",
            ),
            citation="Lim et al., CVPR Workshops 2017 (arXiv 1707.02921); Grover et al., Commun Med 2024, "
            "doi:10.1038/s43856-024-00489-9. Implemented and trained anew.",
        ),
    )


RECIPE = edsr(scale=2, steps=800)
