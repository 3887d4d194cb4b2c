"""The network of learned motion; ten minutes of one core."""

from functools import partial

from STEnhanceLib.training import large_motion
from STEnhanceLib.training.exercises.ends_of_gaps import EndsOfGaps
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="learned-motion",
    title="Learned motion: bidirectional flow with a refiner",
    network="flow",
    configuration={"features": 16, "width": 48, "reach": 2, "refining": 16},
    exercise=partial(EndsOfGaps, count=6, side=112),
    choose=partial(large_motion.added, knees=4, breaths=2, slices=2, matrix=160),
    steps=1_000,
    learning_rate=3e-3,
    card=Card(
        task="temporal interpolation",
        intended_use="Research: moments between two frames of a cine, where a network is to find the motion at once, "
        "or is to adapt to the patient first.",
        network_data_format={
            "inputs": "(B, K, J, I) float32 first and second frame; fractions of the way from one to the other",
            "outputs": "(B, K, J, I) float32 frames at the fractions, and the velocity of the tissue in pixels, "
            "(B, 2, K, J/4, I/4)",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "any; slices are seen one by one, and motion across them is not",
        },
        limits=(
            "Tissue is taken to go evenly along a straight line from one frame to the next: unlike the motion engine, "
            "it does not ask the frames before and after how tissue speeds up and turns.",
            "Trained on two patients' short-axis cines, on still images in random motion, and on phantoms of heart, "
            "knee and breathing; other anatomy was not tried.",
            "Of both hearts it was measured on, the six middle slices count.",
            "Motion across slices, and sliding of one organ along another, cannot be told.",
            "The refiner was taught on frames that were fetched twice and sharpens too much: on the tuning patient it "
            "cost 0.2 dB in training and up to 0.15 dB in the benchmark (heart 0.36 dB), so that it is off unless it "
            "is asked for. Detail that it adds is a guess of the network.",
        ),
        citation="After Kim et al.: UVI-Net, CVPR 2024, and Sun et al.: PWC-Net, CVPR 2018. Implemented and trained "
        "anew.",
    ),
)
