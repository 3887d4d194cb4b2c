"""EDSR for the MRI-Linac, 4×."""

from STEnhanceLib.training.recipes.edsr_x2 import edsr

RECIPE = edsr(scale=4, steps=6_000, start_from="edsr-x2")  # the paper, too, trains 2× first
