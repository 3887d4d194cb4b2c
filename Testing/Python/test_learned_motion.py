"""Learned motion: what its network keeps to whatever its weights, what it practises, and adapting it to a patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

from test_interpolation_baselines import run, sliding_disc, two_frames  # noqa: E402
from test_motion import gain_db  # noqa: E402
from untrained import random_network  # noqa: E402

from STEnhanceLib import models, networks  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.methods import find_method, parse_parameters  # noqa: E402
from STEnhanceLib.methods.output_times import as_text  # noqa: E402
from STEnhanceLib.methods.run import enhance  # noqa: E402
from STEnhanceLib.motion.cycle import local_correlation, mistakes  # noqa: E402
from STEnhanceLib.motion.fields import smallest_volume  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402
from STEnhanceLib.sequence import ImageSequence  # noqa: E402
from STEnhanceLib.training.exercises.ends_of_gaps import EndsOfGaps  # noqa: E402
from STEnhanceLib.training.stock import Stock  # noqa: E402

KEY = "learned-motion"
CPU = torch.device("cpu")


def images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32))


def discs(*places: float) -> torch.Tensor:
    """(1, 1, 64, 64) each."""
    return [torch.from_numpy(frame[None] / 100) for frame in sliding_disc(places)]


def lively(strength: float):
    """Random weights, so large at the end that something moves."""
    network = random_network(KEY)
    torch.nn.init.normal_(network.estimator[-1].weight, std=strength)
    return network


@pytest.fixture(scope="module")
def network():
    return lively(4.0).requires_grad_(False)


@pytest.fixture(scope="module")
def stock() -> Stock:
    cine = Thorax(1).cine(frames=8, matrix=64, slices=2).frames
    cine = cine / cine.max()
    return Stock([cine], [cine], [cine[0, 0]], cine, ("a phantom",))


class TestTheNetwork:
    def test_it_starts_as_the_linear_blend(self):
        first, second = images(2, 1, 2, 24, 20)
        fresh = networks.build("flow", {})
        with torch.no_grad():
            between = fresh(first, second, (0.25,))
        assert not between.velocity.any()
        assert torch.allclose(between.frames[0], 0.75 * first + 0.25 * second, atol=1e-4)

    def test_swapping_the_images_turns_the_motion_and_gives_the_same_frames_backwards(self, network):
        first, second = images(2, 1, 2, 72, 66)
        there, back = network(first, second, (0.3, 0.5)), network(second, first, (0.7, 0.5))
        assert there.velocity.abs().max() > 0.1
        assert torch.allclose(there.velocity, -back.velocity, atol=1e-4)
        for one, other in zip(there.frames, back.frames, strict=True):
            assert torch.allclose(one, other, atol=1e-3)

    def test_at_both_ends_it_shows_the_ends(self, network):
        first, second = (disc + 0.1 for disc in discs(-2, 2))
        frames = network(first, second, (0.0, 1.0)).frames
        assert (first - second).abs().max() > 0.3
        assert (frames[0] - first).abs().max() < 0.02
        assert (frames[1] - second).abs().max() < 0.02

    @pytest.mark.parametrize("shape", [(1, 1, 9), (2, 9, 7), (3, 33, 70), (1, 130, 131)])
    def test_any_size_is_taken_and_slices_are_seen_one_by_one(self, network, shape):
        first, second = images(2, 1, *shape)
        between = network(first, second, (0.5,))
        assert between.frames[0].shape == (1, *shape)
        assert between.velocity.shape == (1, 2, shape[0], -(-shape[1] // 4), -(-shape[2] // 4))
        assert torch.isfinite(between.frames[0]).all()
        alone = network(first[:, -1:], second[:, -1:], (0.5,)).frames[0]
        assert torch.allclose(alone, between.frames[0][:, -1:], atol=1e-4)

    def test_motion_that_folds_is_smoothed_until_it_does_not(self):
        wild = lively(100.0)
        with torch.no_grad():
            first, second = images(2, 1, 2, 64, 64)
            assert wild(first, second, (0.3,)).volume.min() < 0
            between = wild(first, second, (0.3, 0.6), unfold=True)
        assert between.volume.min() > 0
        assert between.velocity.abs().max() > 1
        assert min(smallest_volume(way, between.spacing).min() for way in between.ways[0]) > 0


class TestWhatItPractises:
    def test_a_sliding_disc_is_followed_after_some_practice_on_its_two_ends(self):
        torch.manual_seed(0)
        fresh = networks.build("flow", {"features": 8, "width": 24, "refining": 4})
        first, middle, second = discs(-3, 0, 3)
        before = mistakes(fresh, first, second, np.random.default_rng(0))
        optimizer, rng = torch.optim.Adam(fresh.parameters(), 4e-3), np.random.default_rng(1)
        for _ in range(20):
            mistakes(fresh, first, second, rng).total.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            after = mistakes(fresh, first, second, np.random.default_rng(0))
            between = fresh(first, second, (0.5,))
        assert after.total < 0.5 * before.total
        assert after.cycle < 0.2 * before.cycle
        inside = between.velocity[0, :, 0, 5:11, 5:11].mean((1, 2))
        assert float(inside[1]) == pytest.approx(6.0, abs=1.5)
        assert float(inside[0]) == pytest.approx(0.0, abs=1.0)
        linear = (first + second) / 2
        assert gain_db(between.frames[0].numpy(), linear.numpy(), middle.numpy())[0] > 5

    def test_all_weights_learn(self, network):
        learning = random_network(KEY)
        mistakes(learning, *discs(-1, 1), np.random.default_rng(0)).total.backward()
        assert all(weight.grad.abs().max() > 0 for weight in learning.parameters())

    def test_the_cycle_tells_wrong_motion_from_none(self, network):
        first, _ = discs(0, 0)
        still = networks.build("flow", {})
        with torch.no_grad():
            none, wrong = (
                float(mistakes(each, first, first, np.random.default_rng(0)).cycle) for each in (still, network)
            )
        assert none < 1.1e-3  # what the rounding leaves
        assert wrong > 2 * none

    def test_the_local_correlation_sees_structure_and_no_brightness(self):
        image = images(1, 1, 40, 40)
        assert float(local_correlation(image, 0.5 * image + 0.2)) > 0.95
        assert abs(float(local_correlation(image, images(1, 2, 40, 40)[:, 1:]))) < 0.2
        assert float(local_correlation(torch.ones_like(image), torch.ones_like(image))) == pytest.approx(0, abs=0.01)

    def test_a_batch_depends_on_its_seed_alone(self, stock):
        first, again = (EndsOfGaps(stock, CPU, count=2, side=32).batch(np.random.default_rng(5)) for _ in range(2))
        assert first.first.shape == (2, 1, 32, 32)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first.first, first.second)

    def test_it_is_watched_beside_the_linear_blend_which_it_is_before_training(self, stock):
        with torch.no_grad():
            scores = EndsOfGaps(stock, CPU).validate(networks.build("flow", {}))
        assert scores["psnr"] == pytest.approx(scores["psnr_linear"], abs=0.01)
        assert scores["psnr_unrefined"] == pytest.approx(scores["psnr_linear"], abs=0.01)


@pytest.mark.usefixtures("untrained")
class TestTheMethod:
    @pytest.mark.parametrize("periodic", [True, False])
    def test_measured_frames_stay_bit_for_bit_and_new_ones_fill_each_gap(self, beating_disc, periodic):
        uneven = replace(beating_disc, times_ms=50 * np.arange(8) + [0, 1, -30, 7, 0, 2, -5, 1 / 3], periodic=periodic)
        before = uneven.frames.copy()
        result = run(uneven, KEY, factor=3)
        assert len(result) == (24 if periodic else 22)
        assert np.array_equal(result.frames[::3], before)
        assert np.array_equal(uneven.frames, before)
        enhancement = enhance(find_method(KEY), uneven, parse_parameters(find_method(KEY), {}))
        assert [frame.unsupported for frame in enhancement.frames][:4] == [0.0, 1.0, 0.0, 1.0]

    def test_uneven_times_are_met_whether_asked_for_alone_or_together(self):
        times = np.array([0.0, 100.0, 150.0])
        sequence = ImageSequence(sliding_disc((-2, 2, 4)), np.diag([1.0, 1.0, 6.0, 1.0]), times)
        wanted = np.array([20.0, 80.0, 110.0])
        together = run(sequence, KEY, times_ms=as_text(wanted))
        assert np.array_equal(together.times_ms, wanted)
        for frame, time in zip(together.frames, wanted, strict=True):
            assert np.abs(run(sequence, KEY, times_ms=as_text([time])).frames[0] - frame).max() < 0.1

    def test_it_refines_only_when_wanted_and_says_what_is_folded(self):
        sequence = two_frames(sliding_disc((-2, 2)))
        refined, plain = (run(sequence, KEY, refine=refine) for refine in (True, False))
        assert np.abs(refined.frames[1] - plain.frames[1]).max() > 0.1
        assert "Nothing is folded (smallest Jacobian determinant " in " ".join(plain.notes)

    def test_few_slices_at_once_give_the_same_and_are_the_fewer_the_more_frames_are_made_of_them(self, monkeypatch):
        from STEnhanceLib.methods import placement

        sequence, seen = two_frames(sliding_disc((-2, 2), slices=5)), []
        whole = [run(sequence, KEY, factor=factor).frames for factor in (2, 3)]
        watched = models.load(KEY).register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
        monkeypatch.setattr(placement, "LARGEST", 2 * 64 * 64)
        parts = [run(sequence, KEY, factor=factor).frames for factor in (2, 3)]
        watched.remove()
        assert seen == [2, 2, 1, 1, 1, 1, 1, 1]
        assert all(np.allclose(one, other, atol=0.5) for one, other in zip(parts, whole, strict=True))

    def test_black_frames_stay_black_and_no_voxel_falls_below_the_least(self):
        assert not run(two_frames(np.zeros((2, 1, 16, 16), np.float32)), KEY, refine=False).frames.any()
        assert run(two_frames(sliding_disc((-3, 3))), KEY).frames.min() >= 0

    @pytest.mark.parametrize("periodic", [True, False])
    def test_the_error_of_a_measured_frame_is_how_far_off_it_is_when_it_is_left_out(self, beating_disc, periodic):
        times = 50.0 * np.arange(8) + [0, 1, -30, 7, 0, 2, -5, 1 / 3]
        sequence, method = replace(beating_disc, times_ms=times, periodic=periodic), find_method(KEY)
        enhancement = enhance(method, sequence, parse_parameters(method, {"check": True}))
        maps = [frame.maps["left-out-error"] for frame in enhancement.frames]
        for n in (1, 2, 6):
            others = sequence.with_frames([m for m in range(8) if m != n])
            remade = run(others, KEY, times_ms=as_text([times[n]])).frames[0]
            assert np.allclose(maps[2 * n], np.abs(remade - sequence.frames[n]), atol=0.5)
        assert maps[2].max() > 1
        assert np.allclose(maps[3], (maps[2] + maps[4]) / 2, atol=1e-3)
        assert np.array_equal(maps[0], maps[2]) != periodic
        assert f"frames {'1 to 8' if periodic else '2 to 7'}: " in enhancement.notes[-1]
        with pytest.raises(STEnhanceError, match="2 frames; expected at least 3 to leave one out"):
            run(sequence.with_frames([0, 1]), KEY, check=True)

    def test_one_frame_or_a_wrong_model_is_refused(self, beating_disc):
        with pytest.raises(STEnhanceError, match="1 frame; expected at least 2"):
            run(beating_disc.with_frames([0]), KEY)
        with pytest.raises(STEnhanceError, match="of the kind 'edsr'; expected 'flow'"):
            run(beating_disc, KEY, model="edsr-x2")
