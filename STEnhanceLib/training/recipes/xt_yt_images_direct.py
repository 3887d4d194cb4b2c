"""The xt/yt U-Net on images alone, as published in 2020, by image learning: it predicts images, not artefacts."""

from dataclasses import replace

from STEnhanceLib.training.recipes import xt_yt_images

RECIPE = replace(
    xt_yt_images.RECIPE,
    name="xt-yt-images-direct",
    title="xt/yt U-Net on images, image learning",
    configuration={**xt_yt_images.RECIPE.configuration, "residual": False},
)
