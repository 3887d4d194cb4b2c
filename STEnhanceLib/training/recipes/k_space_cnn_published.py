"""The k-space CNN as published: brain slices one by one, and nothing but k-space."""

import functools

from STEnhanceLib.training import brains
from STEnhanceLib.training.exercises.undersampled_slices import UndersampledSlices
from STEnhanceLib.training.recipe import Card, Recipe
from STEnhanceLib.training.recipes.k_space_cnn import CITATION, INPUTS, SIMULATED

RECIPE = Recipe(
    name="k-space-cnn-published",
    title="K-space CNN as published",
    network="k-space-cnn-published",
    configuration={"features": 48, "blocks": 4},
    exercise=functools.partial(UndersampledSlices, published=True),
    choose=brains.alone,
    steps=700,
    learning_rate=2e-3,
    card=Card(
        task="artefact reduction",
        intended_use="Research: comparison with the working form.",
        network_data_format={
            **INPUTS,
            "outputs": "(T, J, I) complex64, without data consistency",
        },
        limits=(
            *SIMULATED,
            "Measured samples are not kept: they are what the network makes of them.",
            "A convolution in k-space reaches a few lines far; what is further from any measured line stays empty, and "
            "images stay blurred: it did not beat zero-filling on the tuning patient, and is there for comparison "
            "only.",
        ),
        citation=CITATION,
    ),
)
