"""The xt/yt U-Net with data consistency, for golden-angle radial cines."""

from dataclasses import replace
from functools import partial

from STEnhanceLib.training.exercises.undersampled_cines import RADIAL, UndersampledCines
from STEnhanceLib.training.recipes import xt_yt_cartesian

RECIPE = replace(
    xt_yt_cartesian.RECIPE,
    name="xt-yt-radial",
    title="xt/yt U-Net for radial spokes",
    exercise=partial(UndersampledCines, acquisition=RADIAL),
    steps=1_400,
    card=replace(
        xt_yt_cartesian.RECIPE.card,
        intended_use="Research: golden-angle radial cines of 13 spokes or more per frame for 256 pixels.",
        limits=(
            *xt_yt_cartesian.LIMITS[:-1],
            "The model has learnt from closed cycles; where a sequence is none, four made-up frames lead from its last "
            "to its first one meanwhile.",
        ),
    ),
)
