"""What TSSC-Net practises on: the frames between two ends, and what counts as a mistake."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

from practising import mistakes_of_practice  # noqa: E402
from small_tssc_net import SMALL, mamba, some, transformer  # noqa: E402

from STEnhanceLib import models  # noqa: E402
from STEnhanceLib.evaluation import phantom_cases  # noqa: E402
from STEnhanceLib.networks.diffusion_transformer import linear_blend  # noqa: E402
from STEnhanceLib.networks.intensity import brightness  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402
from STEnhanceLib.training import large_motion, trainer  # noqa: E402
from STEnhanceLib.training.exercises import gaps  # noqa: E402
from STEnhanceLib.training.exercises import volumes_between as volumes_between_exercise  # noqa: E402
from STEnhanceLib.training.exercises.frames_between import FramesBetween  # noqa: E402
from STEnhanceLib.training.exercises.gaps import gap  # noqa: E402
from STEnhanceLib.training.exercises.volumes_between import VolumesBetween  # noqa: E402
from STEnhanceLib.training.losses import total_variation  # noqa: E402
from STEnhanceLib.training.stock import Stock  # noqa: E402
from STEnhanceLib.training.wavelets import haar, wavelet_error  # noqa: E402

CPU = torch.device("cpu")


class TestLosses:
    @pytest.mark.parametrize("shape", [(4, 6, 8), (3, 5, 7), (1, 4, 6)])
    def test_the_wavelets_are_those_of_haar(self, shape):
        pywt = pytest.importorskip("pywt")
        volume = some(*shape, dtype=torch.float64)
        expected = pywt.dwtn(_made_even(volume).numpy(), "haar", axes=(0, 1, 2))

        low, high = haar(volume)

        names = ["aad", "ada", "add", "daa", "dad", "dda", "ddd"]
        assert np.allclose(low, expected["aaa"])
        assert all(np.allclose(band, expected[name]) for band, name in zip(high, names, strict=True))

    def test_they_keep_the_energy_and_let_gradients_through(self):
        volume = some(2, 4, 8, 8).requires_grad_()
        low, high = haar(volume)

        assert torch.allclose(low.square().sum() + high.square().sum(), volume.square().sum(), rtol=1e-5)
        wavelet_error(volume).backward()
        assert volume.grad.abs().min() > 0

    def test_total_variation_counts_every_edge_once_per_axis(self):
        volume = torch.zeros(1, 1, 1, 4, 5)
        volume[..., 2:, :] = 3.0

        assert float(total_variation(volume)) == pytest.approx(3.0 / 3)  # one of three steps along the rows
        assert float(total_variation(torch.ones(2, 2, 2))) == 0

    def test_nothing_is_better_than_the_truth(self, stock):
        """With the total variation of the volume, a flat one would be."""
        exercise = VolumesBetween(stock, CPU, transformer(False), count=1, side=32)
        batch = exercise.batch(np.random.default_rng(0))
        truth, flat = batch.truth, batch.truth.mean((-1, -2), keepdim=True).expand_as(batch.truth)

        losses = [
            float(exercise.loss(lambda volumes, found=found: found, batch, 0.0, None))
            for found in (truth, flat, 0.9 * truth + 0.1 * flat)
        ]

        assert losses[0] == 0
        assert min(losses[1:]) > 0


def _made_even(volume: torch.Tensor) -> torch.Tensor:
    for axis, n in enumerate(volume.shape):
        volume = volume.index_select(axis, torch.arange(n + n % 2).clamp_max(n - 1))
    return volume


@pytest.fixture(scope="module")
def stock() -> Stock:
    """Phantoms for all: eight frames, so that four lie within half a cycle at most."""
    of_two = [cine / cine.max() for cine in (Thorax(n).cine(frames=8, matrix=80, slices=6).frames for n in (1, 2))]
    return Stock(of_two[:1], of_two[1:], [of_two[0][0, 3]], of_two[1], ("a phantom",))


class TestGaps:
    @pytest.mark.parametrize(("frames", "slices"), [(1, 1), (2, 12), (10, 1), (15, 3)])
    def test_ends_and_what_lies_between_have_one_scale_and_increasing_times(self, stock, frames, slices):
        for seed in range(12):
            ends, fractions, truth = gap(stock, np.random.default_rng(seed), frames, slices, (40, 32))

            assert ends.shape == (2, slices, 40, 32)
            assert truth.shape == (frames, slices, 40, 32)
            assert fractions[0] > 0
            assert (fractions.diff() > 0).all()
            assert fractions[-1] < 1
            assert brightness(ends) == pytest.approx(1, abs=1e-4)
            assert torch.isfinite(truth).all()

    def test_what_lies_between_never_decides_on_the_scale(self, stock, monkeypatch):
        seen = []
        monkeypatch.setattr(gaps, "brightness", lambda images: seen.append(images.clone()) or 2.0)

        ends, _, truth = gap(stock, np.random.default_rng(3), 3, 1, (40, 32))
        tuning = gaps.tuning_gap(stock.tuning)

        assert torch.equal(seen[0], 2 * ends)
        assert torch.equal(seen[1], 2 * tuning.ends)
        assert len(truth) == 3

    def test_moments_of_a_cine_are_those_of_its_frames(self, monkeypatch):
        """Frames that show their number: the fractions must be those of the numbers, also across the end of a cycle."""
        numbers = np.arange(20.0, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 24, 24), np.float32)
        stock = Stock([numbers], [], [], None, ())
        monkeypatch.setattr(gaps, "brightened", lambda images, rng: images)
        monkeypatch.setattr(gaps, "brightness", lambda images: 1.0)
        monkeypatch.setattr(gaps, "MOVED", 0.0)
        monkeypatch.setattr(gaps, "REAL", 1.0)
        for seed in range(30):
            ends, fractions, truth = gap(stock, np.random.default_rng(seed), 4, 1, (16, 16))
            (first, last), inner = ends[:, 0, 8, 8], truth[:, 0, 8, 8]
            ways = [way for way in ((last - first) % 20, (last - first) % 20 - 20) if abs(way) < 10.5]

            off = [(first + fractions * way - inner + 10) % 20 - 10 for way in ways]  # forward or backward in time
            assert min(each.abs().max() for each in off) < 1e-3

    def test_a_movement_that_is_no_cycle_is_never_closed(self, stock, monkeypatch):
        numbers = np.arange(12.0, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 24, 24), np.float32)
        moving = Stock([], [], [], None, (), movements=[numbers])
        monkeypatch.setattr(gaps, "brightened", lambda images, rng: images)
        monkeypatch.setattr(gaps, "brightness", lambda images: 1.0)
        spans = set()
        for seed in range(60):
            ends, fractions, truth = gap(moving, np.random.default_rng(seed), 4, 1, (16, 16))
            first, last = ends[:, 0, 8, 8]
            if first == last:  # one of its images in motion
                continue
            spans.add(abs(float(last - first)))
            assert torch.allclose(first + fractions * (last - first), truth[:, 0, 8, 8], atol=1e-3)

        assert max(spans) == 11
        assert "phantoms of large motion" in moving.words()

    def test_the_tuning_gap_leads_from_the_first_frame_to_end_systole(self, stock):
        tuning = gaps.tuning_gap(stock.tuning)

        assert tuning.ends.shape == (2, 6, 40, 40)
        assert torch.allclose(tuning.fractions, torch.arange(1, 6) / 6)
        scale = float(stock.tuning[0, 2, 20 + 7, 20 + 9] / tuning.ends[0, 2, 7, 9])
        assert float(tuning.truth[4, 2, 7, 9]) * scale == pytest.approx(float(stock.tuning[5, 2, 27, 29]), rel=1e-4)


def test_knees_and_breaths_join_what_is_practised_and_none_of_the_benchmark(stock):
    more = large_motion.added(stock, knees=2, breaths=1, slices=1, matrix=24)

    assert [moving.shape for moving in more.movements] == 2 * [(12, 1, 24, 24)]
    assert [cyclic.shape for cyclic in more.phantoms[len(stock.phantoms) :]] == [(20, 1, 24, 24)]
    assert np.abs(more.movements[0] - more.movements[1]).max() > 0.1
    assert phantom_cases.PATIENT not in large_motion.SEEDS


class TestStage1Practises:
    def test_a_batch_depends_on_its_seed_alone(self, stock):
        first, again = (FramesBetween(stock, CPU, windows=[(2, 32)]).batch(np.random.default_rng(5)) for _ in range(2))

        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_who_predicts_the_truth_makes_no_mistake(self, stock):
        exercise = FramesBetween(stock, CPU, windows=[(2, 32)])
        batch = exercise.batch(np.random.default_rng(5))

        class Knowing:
            spread = 0.1

            def __call__(self, noisy, ends, fractions, level):
                return (batch.truth - linear_blend(ends, fractions)) / self.spread

        assert float(exercise.loss(Knowing(), batch, 0.0, np.random.default_rng(0))) == 0

    def test_it_gets_better_by_practice(self, stock):
        exercise = FramesBetween(stock, CPU, windows=[(2, 32)])
        batch, network = exercise.batch(np.random.default_rng(4)), transformer(False, width=32)
        mistakes = mistakes_of_practice(exercise, network, batch, learning_rate=0.01, steps=15)

        assert mistakes[-1] < 0.9 * mistakes[0]
        assert all(weight.grad.abs().max() > 0 for weight in network.parameters())

    def test_it_is_watched_beside_the_linear_blend_which_it_is_before_training(self, stock):
        with torch.no_grad():
            scores = FramesBetween(stock, CPU).validate(transformer(False))

        assert scores["psnr"] == pytest.approx(scores["psnr_linear"], abs=1e-3)


class TestStage2Practises:
    def test_it_sees_what_stage_1_makes_and_the_measured_ends(self, stock, monkeypatch):
        monkeypatch.setattr(volumes_between_exercise, "OWN", 1.0)
        untrained = VolumesBetween(stock, CPU, transformer(False), count=2, side=32).batch(np.random.default_rng(5))
        trained = VolumesBetween(stock, CPU, transformer(), count=2, side=32).batch(np.random.default_rng(5))

        assert trained.volumes.shape[1:] == (3, 12, 32, 32)
        assert trained.truth.shape == (len(trained.volumes), 1, 12, 32, 32)
        assert torch.equal(untrained.truth, trained.truth)
        assert torch.equal(untrained.volumes[:, 1:], trained.volumes[:, 1:])
        assert (untrained.volumes[:, 0] - trained.volumes[:, 0]).abs().max() > 1e-3

    def test_it_gets_better_by_practice(self, stock):
        exercise = VolumesBetween(stock, CPU, transformer(), count=1, side=32)
        batch, network = exercise.batch(np.random.default_rng(4)), mamba(trained=False)
        mistakes = mistakes_of_practice(exercise, network, batch, learning_rate=0.01, steps=12)

        assert mistakes[-1] < 0.97 * mistakes[0]

    def test_it_is_watched_beside_stage_1_alone_which_it_is_before_training(self, stock):
        with torch.no_grad():
            scores = VolumesBetween(stock, CPU, transformer()).validate(mamba(trained=False))

        assert scores["psnr"] == pytest.approx(scores["psnr_stage1"], abs=1e-3)
        assert scores["psnr_linear"] != pytest.approx(scores["psnr_stage1"], abs=0.1)


class TestRecipes:
    @pytest.mark.parametrize("name", ["tssc-stage1", "tssc-stage2"])
    def test_they_train_a_small_network(self, name, stock, tmp_path, monkeypatch):
        monkeypatch.setattr(models, "load", lambda wanted, *_: {"tssc-stage1": transformer()}[wanted])
        recipe = importlib.import_module(f"STEnhanceLib.training.recipes.{name.replace('-', '_')}").RECIPE
        tiny = {"tssc-stage1": SMALL, "tssc-stage2": {"features": 4, "blocks": 1, "states": 2}}[name]
        recipe = replace(recipe, configuration={**recipe.configuration, **tiny})
        without_watching = replace(stock, tuning=None)

        network, progress = trainer.train(recipe, recipe.exercise(without_watching, CPU), tmp_path, device=CPU, steps=2)

        assert progress.step == 2
        for weight in network.state_dict().values():
            assert torch.isfinite(weight.half()).all()
