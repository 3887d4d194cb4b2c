"""The working form of the k-space CNN; and what its published form has in common with it."""

from STEnhanceLib.training import brains
from STEnhanceLib.training.exercises.undersampled_slices import UndersampledSlices
from STEnhanceLib.training.recipe import Card, Recipe

CITATION = (
    "Petrimoulx, 2025, after Hyun et al., Phys Med Biol 2018; 63:135007. K-space and image in turn: Eo et al., Magn "
    "Reson Med 2018; 80:2188-2201. Data consistency: Schlemper et al., IEEE TMI 2018 (arXiv 1704.02422). Brains: Fonov "
    "et al., NeuroImage 2011; 54:313-327; Holmes et al., J Comput Assist Tomogr 1998; 22:324-333. Implemented and "
    "trained anew."
)
INPUTS = {
    "inputs": "Cartesian operator (mask (T, J) bool, coils (C, J, I) complex64); samples (T, C, J, I) complex64, zero "
    "where nothing was measured; indices of the frames before and after each (T, 2)",
    "intensity": "divided by the 99.9th percentile of the magnitude of the zero-filled images",
    "grid": "that of the images; k-space centred at (J // 2, I // 2), orthonormal",
}
SIMULATED = (
    "Trained on k-space simulated from magnitude images, with smooth phase and noise up to 2 %; that of a scanner was "
    "not tried.",
    "Trained for 3 to 6 times fewer lines, drawn at random around a centre that is always measured.",
)

RECIPE = Recipe(
    name="k-space-cnn",
    title="K-space CNN, working form",
    network="k-space-cnn",
    configuration={"cascades": 4, "features": 32, "blocks": 3},
    exercise=UndersampledSlices,
    choose=brains.added,
    steps=1_600,
    learning_rate=2e-3,
    card=Card(
        task="artefact reduction",
        intended_use="Research: single slices and cines of which 3 to 6 times too few Cartesian lines were measured.",
        network_data_format={
            **INPUTS,
            "outputs": "(T, J, I) complex64, after data consistency",
        },
        limits=(
            *SIMULATED,
            "With several coils, which were simulated, regularly interleaved lines were trained, too, up to 8 times "
            "fewer.",
            "Measured samples are kept with their noise; lines that were not measured are a guess from their "
            "neighbours in k-space and time and from other patients.",
        ),
        citation=CITATION,
    ),
)
