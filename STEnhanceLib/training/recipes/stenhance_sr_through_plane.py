"""STEnhance-SR across slices: 2 to 4 thin slices for a thick one."""

from STEnhanceLib.training.exercises.thick_planes import ThickPlanes
from STEnhanceLib.training.recipe import Card, Recipe
from STEnhanceLib.training.recipes.stenhance_sr import CITATION

RECIPE = Recipe(
    name="stenhance-sr-through-plane",
    title="STEnhance-SR, through-plane",
    network="stenhance-sr",
    configuration={"features": 32, "blocks": 6},
    exercise=ThickPlanes,
    steps=4_000,
    learning_rate=2e-3,
    card=Card(
        task="super-resolution",
        intended_use="Research: stacks of thick slices without gaps, 2 to 4 thin slices for a thick one.",
        network_data_format={
            "inputs": "planes at right angles to the slices, interpolated, of frames t, t-1, t+1 (B, 3, K, I); no "
            "prior; measured share along K and I (B, 2); float32",
            "outputs": "(B, 1, K, I) float32, before data consistency",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "thick slice n lies at thin slice n · factor; Gaussian profile, full width at half maximum "
            "of one thick slice",
        },
        limits=(
            "No patient with thin slices was at hand: most of what it learnt comes from in-plane images whose rows "
            "played the slices.",
            "It learnt one slice profile without gaps; real ones differ. Nor did it learn what slices of different "
            "breath-holds and heartbeats do not share.",
            "Against long-axis planes that were measured in the same heart (5 mm slices of one large animal, slice "
            "factor 2), the network held to its profile is behind cubic interpolation: correlation 0.862 against "
            "0.881, and 0.057 against 0.084 of wavelengths of 5 to 10 mm. STEnhance-SR therefore weighs what it adds "
            "by how far slices may lie from where they should, and is then about as good as cubic interpolation (0.884 "
            "and 0.085): its thinner slices are for display rather than for detail.",
            "Anatomy that passes between two thick slices without touching either cannot come back.",
        ),
        citation=CITATION + " Learning one direction from another: Zhao et al., IEEE TMI 2021 (40:805).",
    ),
)
