"""What the networks for undersampled cines practise on."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

from practising import mistakes_of_practice  # noqa: E402

from STEnhanceLib import networks  # noqa: E402
from STEnhanceLib.training.exercises.moving_images import cine  # noqa: E402
from STEnhanceLib.training.exercises.spoilt_cines import SpoiltCines, as_images  # noqa: E402
from STEnhanceLib.training.exercises.undersampled_cines import (  # noqa: E402
    CARTESIAN,
    RADIAL,
    UndersampledCines,
    some_coils,
    tuning_scan,
)
from STEnhanceLib.training.motion import turned_and_zoomed  # noqa: E402
from STEnhanceLib.training.recipe import find_recipe  # noqa: E402
from STEnhanceLib.training.stock import Stock, phantoms  # noqa: E402

SMALL = {"blocks": 1, "steps": 1, "features": 4, "stages": 2, "convolutions": 1}


@pytest.fixture(scope="module")
def stock() -> Stock:
    of_two = phantoms(0, 2)
    return Stock(of_two[:1], of_two, [of_two[0][0, 6]], of_two[1], ("a phantom",))


@pytest.mark.parametrize("frames", [9, 12, 20])
def test_cines_have_as_many_frames_as_asked_for_and_move(stock, frames):
    for seed in range(6):
        images = cine(stock, np.random.default_rng(seed), frames, (48, 40))

        assert images.shape == (frames, 48, 40)
        assert torch.isfinite(images).all()
        assert (images - images.mean(0)).abs().max() > 0


def test_anatomy_that_is_zoomed_keeps_its_place_and_fills_as_much_more_of_the_image():
    j, i = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = torch.sigmoid(9 - torch.hypot(j - 31.5, i - 31.5))[None]

    for seed in range(4):
        larger = turned_and_zoomed(disc, np.random.default_rng(seed), share=1.0, zoom=(1.8, 1.8))

        assert float(larger.sum() / disc.sum()) == pytest.approx(1.8**2, rel=0.02)
        assert float((larger * j[None]).sum() / larger.sum()) == pytest.approx(31.5, abs=0.1)


def test_coils_add_up_to_one_everywhere():
    maps = some_coils(np.random.default_rng(0), (48, 40))

    assert torch.allclose(maps.abs().square().sum(0), torch.ones(48, 40), atol=1e-5)


@pytest.mark.parametrize("acquisition", [CARTESIAN, RADIAL])
class TestUndersampledCines:
    def test_a_batch_depends_on_its_seed_alone(self, stock, acquisition):
        first, again = (
            UndersampledCines(stock, torch.device("cpu"), acquisition).batch(np.random.default_rng(5)) for _ in range(2)
        )

        assert torch.equal(first.samples, again.samples)
        assert torch.equal(first.truth, again.truth)

    def test_samples_are_those_of_the_truth_but_for_noise(self, stock, acquisition):
        exercise = UndersampledCines(stock, torch.device("cpu"), acquisition)
        scan = exercise.batch(np.random.default_rng(1))

        off = (scan.operator.forward(scan.truth) - scan.samples).norm() / scan.samples.norm()

        assert off < 0.5
        assert 0.3 < scan.truth.abs().max() < 10

    def test_a_network_gets_better_by_practice(self, stock, acquisition):
        torch.manual_seed(0)
        exercise = UndersampledCines(stock, torch.device("cpu"), acquisition)
        network = networks.build("xt-yt-cascade", SMALL)
        scan = exercise.batch(np.random.default_rng(3))
        mistakes = mistakes_of_practice(exercise, network, scan, learning_rate=0.05, steps=12)

        assert mistakes[-1] < 0.99 * mistakes[0]

    def test_it_is_watched_on_the_tuning_patient_with_gridding_beside(self, stock, acquisition):
        exercise = UndersampledCines(stock, torch.device("cpu"), acquisition)
        with torch.no_grad():
            scores = exercise.validate(networks.build("xt-yt-cascade", SMALL))

        assert scores["psnr"] > scores["psnr_gridding"]


class TestSpoiltCines:
    def test_images_come_with_artefacts_and_truth_on_one_scale(self, stock):
        spoilt = as_images(tuning_scan(stock.tuning, CARTESIAN, torch.device("cpu")))

        assert spoilt.images.shape == spoilt.truth.shape == (1, *spoilt.truth.shape[1:])
        assert 0.8 < float(spoilt.images.mean() / spoilt.truth.mean()) < 1.25
        assert (spoilt.images - spoilt.truth).abs().mean() > 0.01

    @pytest.mark.parametrize("recipe", ["xt-yt-images", "xt-yt-images-direct"])
    def test_its_recipes_take_steps(self, stock, recipe):
        exercise = SpoiltCines(stock, torch.device("cpu"))
        configuration = {**find_recipe(recipe).configuration, "features": 4, "stages": 2, "convolutions": 1}
        network = networks.build("xt-yt-unet", configuration)

        exercise.loss(network, exercise.batch(np.random.default_rng(0)), 0.0, np.random.default_rng(0)).backward()

        assert all(weight.grad.abs().max() > 0 for weight in network.parameters())


def test_one_subject_means_one_cine_and_nothing_else(stock):
    chosen = find_recipe("xt-yt-one-subject").choose(stock)

    assert (len(chosen.cines), len(chosen.stills), len(chosen.phantoms)) == (1, 0, 0)
    assert "1 cines and 0 still images of 1 patients" in chosen.words()
    assert all(cine(chosen, np.random.default_rng(seed), 9, (48, 40)).any() for seed in range(10))
