"""Stage 1 of TSSC-Net, as small as one CPU core can train: 1.6 million parameters instead of 860 million.

The paper's size is `diffusion_transformer.PAPER`; with a GPU, put it or anything between in `configuration`.
"""

from functools import partial

from STEnhanceLib.training import large_motion
from STEnhanceLib.training.exercises.frames_between import FramesBetween
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="tssc-stage1",
    title="TSSC-Net, stage 1: diffusion transformer",
    network="diffusion-transformer",
    configuration={"fold": 8, "width": 128, "blocks": 6, "heads": 2, "mlp": 3, "condition": 64, "spread": 0.1},
    exercise=partial(FramesBetween, windows=((4, 96), (1, 192))),
    choose=large_motion.added,
    steps=4_000,
    learning_rate=4e-3,
    card=Card(
        task="temporal interpolation",
        intended_use="Research: frames between two measured ones where tissue moves too far for registration.",
        network_data_format={
            "inputs": "(B, F, 1, J, I) float32 noise, (B, 2, 1, J, I) both measured frames, (B, F) fractions of the "
            "way from the first to the last, (B,) level of noise",
            "outputs": "(B, F, 1, J, I) float32: clean differences from the linear blend, in units of 0.1",
            "intensity": "divided by the 99.9th percentile of both measured frames",
            "grid": "any; up to 16 frames between two measured ones in one sampling run",
        },
        limits=(
            "What it shows between two frames is generated: plausible, and not measured.",
            "A five-hundredth of the size of the paper's network; differences from the linear blend are denoised in "
            "place of the frames, by a schedule that ends in pure noise.",
            "Each slice is made alone; stage 2 makes them consistent.",
            "On hearts and on deep breaths it is behind a linear blend, and far behind the motion engine: it is for "
            "motion too large to be followed, such as a knee that bends.",
            "Half way through a bend it paints a haze where the shank may be: fewer errors than a double image has, "
            "and nothing to read a finding from.",
            "The knees and breaths it was scored on were painted by the program that painted those it practised on, "
            "with other seeds; no real knee was tried.",
            "Trained on two patients' short-axis cines, on still images in random motion, and on phantoms of heart, "
            "knee and breathing.",
        ),
        citation="Zhou et al.: TSSC-Net, MICCAI 2025 (arXiv 2506.04116). Implemented and trained anew.",
    ),
)
