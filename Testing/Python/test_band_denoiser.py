"""The network of frequency-split denoising, what it practises, and that it beats the classical denoiser."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

torch = pytest.importorskip("torch", reason="torch is not installed: no networks")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from STEnhanceLib import files  # noqa: E402
from STEnhanceLib.acquisition.simulate import simulate  # noqa: E402
from STEnhanceLib.evaluation.metrics import intensity_scale  # noqa: E402
from STEnhanceLib.evaluation.protocols import middle_slices  # noqa: E402
from STEnhanceLib.methods import find_method, frequency_bands, parse_parameters, placement  # noqa: E402
from STEnhanceLib.methods.run import enhance_all  # noqa: E402
from STEnhanceLib.networks import build  # noqa: E402
from STEnhanceLib.sequence import ImageSequence  # noqa: E402
from STEnhanceLib.training.exercises import noisy_frames  # noqa: E402
from STEnhanceLib.training.recipe import find_recipe  # noqa: E402
from STEnhanceLib.training.stock import Stock  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build("band-denoiser", {"features": 8, "blocks": 2})
    for weight in network.parameters():
        if not weight.any():  # the last layer, and the weights of the noise level
            torch.nn.init.normal_(weight, std=0.1)
    return network.eval().requires_grad_(False)


def test_the_shipped_network_is_small():
    recipe = find_recipe("frequency-split")
    network = build(recipe.network, recipe.configuration)
    assert sum(values.numel() for values in network.parameters()) <= 150_000
    with FlopCounterMode(display=False) as counted:
        network(torch.rand(1, 3, 64, 64), torch.ones(1, 1))
    assert 16 * counted.get_total_flops() == pytest.approx(3.8e9, rel=0.02)  # per 256×256 frame


def test_it_is_told_the_noise_level_and_finds_none_where_there_is_none(network):
    bands = torch.randn(1, 3, 21, 18) / 20
    little, much = (network(bands, torch.tensor([[level]])) for level in (0.01, 0.1))
    assert little.shape == (1, 1, 21, 18)
    assert not torch.allclose(little / 0.01, much / 0.1, rtol=0.05)
    assert not network(bands, torch.zeros(1, 1)).any()


def test_each_sample_of_a_batch_has_its_own_noise_level(network):
    bands, levels = torch.randn(2, 3, 16, 16), torch.tensor([[0.02], [0.1]])
    alone = torch.cat([network(one[None], level[None]) for one, level in zip(bands, levels, strict=True)])
    assert torch.allclose(network(bands, levels), alone, atol=1e-6)


def test_large_images_are_computed_in_tiles_without_seams(monkeypatch):
    frames = 100 * np.random.default_rng(2).random((2, 1, 180, 150)).astype(np.float32)
    sequence, method = ImageSequence(frames, np.eye(4), [0.0, 1.0]), find_method("frequency-split")
    parameters = parse_parameters(method, {"denoiser": "network"})
    whole = enhance_all(method, sequence, parameters).frames
    monkeypatch.setattr(placement, "LARGEST", 180 * 150 // 3)
    assert np.abs(enhance_all(method, sequence, parameters).frames - whole).max() < 1e-3
    assert np.abs(whole - frames).max() > 1


def test_the_transform_that_is_trained_is_the_one_that_is_used():
    images = np.random.default_rng(0).standard_normal((2, 24, 37)).astype(np.float32)
    weight = frequency_bands.high_band((24, 37), 0.2)
    trained = noisy_frames.filtered(torch.from_numpy(images), torch.from_numpy(weight))
    assert np.abs(trained.numpy() - frequency_bands.filtered(images, weight)).max() < 1e-5


def test_the_recombined_image_keeps_its_low_band_with_any_network(network):
    noisy, weight = torch.rand(1, 3, 40, 40), torch.from_numpy(frequency_bands.high_band((40, 40), 0.2))
    result = noisy_frames.recombined(network, noisy, torch.tensor([[0.1]]), weight)
    before, after = (scipy.fft.dctn(image[0, 0].numpy(), norm="ortho") for image in (noisy, result))
    assert np.abs(after - before)[weight.numpy() == 0].max() < 1e-5
    assert np.abs(after - before)[weight.numpy() == 1].max() > 1e-2


def test_samples_are_rician_noisy_frames_with_levels_of_their_own():
    painted = np.full((3, 1, 140, 140), 1, np.float32)
    exercise = noisy_frames.NoisyFrames(Stock([painted], [painted], [], None, ()), torch.device("cpu"))
    batch = exercise.batch(np.random.default_rng(0))
    assert batch.noisy.shape == (8, 3, 96, 96) and batch.truth.shape == (8, 1, 96, 96)
    found = (batch.noisy[:, :1] - batch.truth).flatten(1).std(1, keepdim=True)
    assert torch.allclose(found, batch.true_level, rtol=0.1)
    assert len(batch.true_level.unique()) == 8
    lowest, highest = noisy_frames.LEVELS
    assert lowest <= float(batch.true_level.min()) < 0.3 * float(batch.true_level.max()) <= 0.3 * highest
    assert 0.02 < float((batch.level / batch.true_level - 1).abs().mean()) < 0.2
    neighbour = batch.noisy[:, 1] - batch.noisy[:, 0]
    alone = ~neighbour.flatten(1).any(1)
    spread = neighbour.flatten(1).std(1)[~alone]
    assert torch.allclose(spread, batch.true_level[~alone, 0] * 2**0.5, rtol=0.15)  # noise of its own


@pytest.mark.parametrize("case", ["scd0000301_sax"])
def test_it_beats_the_classical_denoiser_on_a_patient_who_did_not_train(case, stenhance_data):
    good = middle_slices(files.read(stenhance_data / "cine" / f"{case}.nii.gz"), 1).with_frames(range(4))
    noisy, method = simulate(good, "n5").sequence, find_method("frequency-split")
    heart = np.s_[:, :, 88:168, 88:168]
    error = {}
    for denoiser in ("network", "classical"):
        result = enhance_all(method, noisy, parse_parameters(method, {"denoiser": denoiser}))
        error[denoiser] = np.mean((result.frames - good.frames)[heart] ** 2) / intensity_scale(good) ** 2
    assert 10 * np.log10(error["classical"] / error["network"]) > 0.3
