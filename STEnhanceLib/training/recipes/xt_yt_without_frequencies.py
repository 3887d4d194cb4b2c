"""An ablation, not shipped: what are the temporal frequencies worth?"""

from dataclasses import replace

from STEnhanceLib.training.recipes import xt_yt_cartesian

RECIPE = replace(
    xt_yt_cartesian.RECIPE,
    name="xt-yt-without-frequencies",
    title="xt/yt U-Net on frames in place of temporal frequencies",
    configuration={**xt_yt_cartesian.CONFIGURATION, "frequencies": False},
    ships=False,
)
