"""The xt/yt U-Net with data consistency, for cines of interleaved Cartesian lines."""

from functools import partial

from STEnhanceLib.training.exercises.undersampled_cines import CARTESIAN, UndersampledCines
from STEnhanceLib.training.motion import turned_and_zoomed
from STEnhanceLib.training.recipe import Card, Recipe

CITATION = (
    "Kofler et al., Med Phys 2021; 48:2412-2425 (arXiv 2102.00783); Kofler et al., IEEE TMI 2020; 39:703-717 (arXiv "
    "1904.01574); several blocks as in Aggarwal et al., IEEE TMI 2019; 38:394-405."
)
CONFIGURATION = {"blocks": 4, "steps": 2, "features": 16, "stages": 3, "convolutions": 2, "fold": 2}
# Nearer to whole images than is needed to see what aliases where.
WINDOWS = ((96, 40), (128, 40), (160, 32), (192, 32))
# Pixels of another scanner, or of a larger or smaller patient: motion and edges then span more or fewer of them.
TURNED = partial(turned_and_zoomed, share=0.5, zoom=(0.75, 1.8))
FORMAT = {
    "inputs": "samples of one slice (T, C, …) complex64, and the operator of their acquisition with its coil maps",
    "outputs": "(T, J, I) complex64",
    "intensity": "divided by the 99.9th percentile of the magnitude of the average over time",
    "grid": "that of the coil maps",
}
LIMITS = (
    "Trained on short-axis cardiac cines of 1.5 T (bSSFP), their k-space simulated from magnitude images with smooth "
    "phase, 4 to 8 coils and noise up to 2 %; other anatomy, contrast, and raw data of a scanner were not tried.",
    "Motion that no frame measured is guessed from its neighbours in time.",
    "Time is taken as one closed cycle, also where the sequence is none.",
)

RECIPE = Recipe(
    name="xt-yt-cartesian",
    title="xt/yt U-Net for Cartesian lines",
    network="xt-yt-cascade",
    configuration=CONFIGURATION,
    exercise=partial(UndersampledCines, acquisition=CARTESIAN, windows=WINDOWS, turned=TURNED),
    steps=8_000,
    learning_rate=4e-3,
    card=Card(
        task="artefact reduction",
        intended_use="Research: Cartesian cines that were accelerated 4 to 10 times by lines interleaved over time.",
        network_data_format=FORMAT,
        limits=LIMITS,
        citation=CITATION,
    ),
)
