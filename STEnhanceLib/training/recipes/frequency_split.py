"""The network of frequency-split denoising: Rician noise of any level from 0.5 to 12 %."""

from STEnhanceLib.training.exercises.noisy_frames import NoisyFrames
from STEnhanceLib.training.recipe import Card, Recipe

RECIPE = Recipe(
    name="frequency-split",
    title="Frequency-split denoiser",
    network="band-denoiser",
    configuration={"features": 32, "blocks": 6},
    exercise=NoisyFrames,
    steps=5_500,
    learning_rate=2e-3,
    card=Card(
        task="artefact reduction",
        intended_use="Research: cines with the noise of a magnitude image, 1 to 10 % of the brightest tissue; the low "
        "frequencies of the images are left as they are.",
        network_data_format={
            "inputs": "high band of the cosine transform of frames t, t-1, t+1, as images (B, 3, J, I); standard "
            "deviation of the noise (B, 1); float32",
            "outputs": "the noise of frame t, (B, 1, J, I) float32, of which the high band is removed",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "that of the images",
        },
        limits=(
            "Trained on short-axis cardiac cines and stills of 1.5 T (bSSFP) and on phantoms only; other anatomy, "
            "contrast and field strength were not tried.",
            "Trained on noise that was white before the magnitude was taken. The method hands over images that were "
            "taken back to what was measured and whitened; noise that varies over the image, as after parallel "
            "imaging, is not told.",
            "The brightening that noise causes in dark regions lies in the low band and stays.",
            "Detail weaker than the noise may be removed with it; nothing can be checked against the measurement.",
        ),
        citation="After Uetani et al., Neuroradiology 2021; 63:63-71. Noise level as input: Zhang et al. (FFDNet), "
        "IEEE TIP 2018 (arXiv 1710.04026).",
    ),
)
