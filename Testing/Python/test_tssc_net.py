"""TSSC-Net: frames between two measured ones by diffusion, then volumes made consistent along all three axes."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib import models, networks  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.evaluation import phantom_cases  # noqa: E402
from STEnhanceLib.networks import ddim, diffusion_transformer, selective_scan, tri_mamba  # noqa: E402
from STEnhanceLib.networks.diffusion_transformer import (  # noqa: E402
    PAPER,
    DiffusionTransformer,
    linear_blend,
)
from STEnhanceLib.networks.selective_scan import recurrence  # noqa: E402
from STEnhanceLib.networks.tri_mamba import ORDERS, TriDirectional, TriMamba  # noqa: E402
from STEnhanceLib.networks.tssc_net import brightness, frames_between, volumes_between  # noqa: E402
from STEnhanceLib.phantom import Thorax  # noqa: E402
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

SMALL = {"width": 16, "blocks": 2, "heads": 2, "condition": 8}
SHAPES = [(5, 6, 7), (1, 4, 6), (3, 2, 5)]  # no cubes: a wrong axis would not even fit, or bring tokens elsewhere


def some(*shape: int, seed: int = 1, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transformer(trained: bool = True, **configuration) -> DiffusionTransformer:
    torch.manual_seed(2)
    network = DiffusionTransformer(**{**SMALL, **configuration}).eval()
    with torch.no_grad():
        for weight in network.parameters() if trained else ():
            if not weight.any():  # layers that start with nothing would hide what is before them
                weight.normal_(std=0.1)
    return network


def mamba(trained: bool = True) -> TriMamba:
    torch.manual_seed(2)
    network = TriMamba(features=4, blocks=1, states=2).eval()
    if trained:
        torch.nn.init.normal_(network.last.weight, std=0.1)
    return network


def between(stage1, stage2=None, *, ends=None, fractions=(0.25, 0.5, 0.75), seed=0, steps=2, **more) -> torch.Tensor:
    ends = 0.5 + 0.2 * some(2, 3, 16, 24) if ends is None else ends
    return volumes_between(
        stage1, stage2, ends, torch.tensor(fractions), steps=steps, generator=seeded(seed), **more
    )  # fmt: skip


class TestDiffusion:
    def test_noise_grows_from_none_to_nothing_else(self):
        """By linear betas from 1e-6 to 1e-2, stretched: where sampling begins, nothing must be left of the images."""
        clean, noise = torch.ones(4, 4), torch.full((4, 4), -1.0)

        images = ddim.noised(clean, noise, torch.tensor([0, 1, 500, ddim.LEVELS]))

        assert torch.equal(images[0], clean[0])
        assert images[1].mean() == pytest.approx(1.0, abs=2e-3)
        assert images[2].mean() == pytest.approx(0.493 - 0.870, abs=2e-3)
        assert torch.equal(images[3], noise[3])

    @pytest.mark.parametrize("steps", [1, 3, 50])
    def test_whoever_knows_the_images_finds_them_in_any_number_of_steps(self, steps):
        truth, calls = some(2, 5), []

        def knowing(x, level):
            calls.append(level)
            return truth

        assert torch.allclose(ddim.sample(knowing, some(2, 5, seed=9), steps), truth)
        assert len(calls) == steps

    def test_every_step_is_at_the_level_of_noise_that_is_left(self):
        """Of images of noise of size s, the best guess is known; samples must then be spread as the images are."""
        size, kept = 0.5, ddim._kept()

        def best(x, level):
            share = kept[level].view(-1, 1).to(x)
            return share.sqrt() * size**2 / (share * size**2 + 1 - share) * x

        found = ddim.sample(best, some(4, 20_000), 200)

        assert found.std() == pytest.approx(size, rel=0.03)

    @pytest.mark.parametrize("steps", [0, -1, 1001])
    def test_a_number_of_steps_that_is_none_is_refused(self, steps):
        with pytest.raises(STEnhanceError, match="steps"):
            ddim.sample(lambda x, level: x, some(1, 2), steps)


class TestTransformer:
    def test_what_ships_stays_below_16_mb_and_the_papers_size_is_a_configuration(self):
        with torch.device("meta"):
            ours, papers = (networks.build("diffusion-transformer", given) for given in ({}, PAPER))

        assert 2 * sum(weight.numel() for weight in ours.parameters()) < 16e6
        assert sum(weight.numel() for weight in papers.parameters()) == pytest.approx(0.86e9, rel=0.02)

    @pytest.mark.parametrize("shape", [(16, 16), (24, 16), (17, 30), (5, 9)])
    @pytest.mark.parametrize("frames", [1, 4, 16])
    def test_any_number_of_frames_of_any_size_is_denoised_together(self, shape, frames):
        network = transformer()
        noisy, ends = some(2, frames, 1, *shape), some(2, 2, 1, *shape, seed=3)
        when, level = torch.linspace(0.05, 0.9, frames).expand(2, -1), torch.tensor([10, 900])
        with torch.no_grad():
            found = network(noisy, ends, when, level)

        assert found.shape == noisy.shape
        assert torch.isfinite(found).all()

    def test_latents_of_an_autoencoder_are_frames_like_any(self):
        network = transformer(channels=4, fold=2)
        found = network(some(1, 3, 4, 8, 6), some(1, 2, 4, 8, 6), torch.rand(1, 3), torch.tensor([500]))

        assert found.shape == (1, 3, 4, 8, 6)

    @pytest.mark.parametrize("part", ["time", "another frame", "another patch", "first", "last", "level"])
    def test_every_frame_depends_on(self, part):
        network = transformer()
        noisy, ends = some(1, 3, 1, 16, 32), some(1, 2, 1, 16, 32, seed=3)
        when, level = torch.tensor([[0.2, 0.5, 0.8]]), torch.tensor([300])
        with torch.no_grad():
            before = network(noisy, ends, when, level)[0, 1, 0, :8, :8]
            if part == "time":
                when = torch.tensor([[0.2, 0.6, 0.8]])
            elif part == "another frame":
                noisy[0, 2, 0, :8, :8] += some(8, 8)
            elif part == "another patch":
                noisy[0, 1, 0, 8:, 24:] += some(8, 8)  # beyond the reach of the last convolution
            elif part == "level":
                level = torch.tensor([700])
            else:
                ends[0, ["first", "last"].index(part), 0, :8, :8] += some(8, 8)
            after = network(noisy, ends, when, level)[0, 1, 0, :8, :8]

        assert (after - before).abs().max() > 1e-4

    def test_both_ends_are_told_apart_by_their_time(self):
        network = transformer()
        noisy, ends, level = some(1, 1, 1, 16, 16), some(1, 2, 1, 16, 16, seed=3), torch.tensor([300])
        with torch.no_grad():
            one, other = (network(noisy, e, torch.tensor([[0.5]]), level) for e in (ends, ends.flip(1)))

        assert (one - other).abs().max() > 1e-4

    def test_attention_in_space_depends_on_how_far_patches_are_apart_and_not_on_where_they_are(self):
        query, key = some(16), some(16, seed=2)
        cosine, sine = diffusion_transformer._rotation((6, 7), 16, query)

        def likeness(of, to):  # of patches (row, column)
            a, b = (
                diffusion_transformer._rotated(x, cosine[7 * j + i], sine[7 * j + i])
                for x, (j, i) in ((query, of), (key, to))
            )
            return float(a @ b)

        assert likeness((0, 0), (2, 1)) == pytest.approx(likeness((3, 5), (5, 6)), abs=1e-5)
        assert likeness((0, 0), (2, 1)) != pytest.approx(likeness((0, 0), (1, 2)), abs=1e-2)

    def test_a_width_that_its_heads_cannot_share_is_refused(self):
        with pytest.raises(STEnhanceError, match="heads"):
            networks.build("diffusion-transformer", {"width": 20, "heads": 4})


class TestSelectiveScan:
    @pytest.mark.parametrize("length", [1, 100, 128, 129, 700])
    def test_blocks_give_what_step_by_step_gives(self, length):
        x, pace = some(2, length, 6), 0.5 * torch.rand(2, length, 6, generator=seeded(3))
        rates, into, out = -torch.rand(6, 3, generator=seeded(4)) * 4, some(2, length, 3), some(2, length, 3, seed=6)
        state, expected = torch.zeros(2, 6, 3), []
        for t in range(length):
            decay = (pace[:, t, :, None] * rates).exp()
            state = decay * state + (pace[:, t] * x[:, t])[..., None] * into[:, t, None]
            expected.append((state * out[:, t, None]).sum(-1))

        found = selective_scan.selective_scan(x, pace, rates, into, out)

        assert (found - torch.stack(expected, dim=1)).abs().max() < 1e-5

    def test_its_gradient_is_that_of_the_recurrence(self, monkeypatch):
        monkeypatch.setattr(selective_scan, "BLOCK", 4)
        decay = torch.rand(2, 11, 3, generator=seeded(1), dtype=torch.float64).requires_grad_()
        entering = some(2, 11, 3, dtype=torch.float64).requires_grad_()

        assert torch.autograd.gradcheck(recurrence, (decay, entering))


class TestTriMamba:
    @pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_every_token_returns_to_its_place_in_every_order(self, order, shape):
        volume = torch.arange(2.0 * 3 * np.prod(shape)).view(2, 3, *shape)

        assert torch.equal(tri_mamba.as_volume(tri_mamba.as_tokens(volume, order), order, shape), volume)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_with_scans_that_change_nothing_the_block_changes_nothing(self, shape):
        """The published code inverted its permutations along the wrong axis: few tokens returned to their places."""
        block, volume = TriDirectional(3, 2), some(2, 3, *shape)
        for name in ORDERS:
            block.forward_scans[name] = block.backward_scans[name] = torch.nn.Identity()

        assert torch.allclose(block(volume), volume, atol=1e-6)

    @pytest.mark.parametrize(("name", "axis"), [("xyz", -1), ("yzx", -2), ("zxy", -3)])
    def test_every_direction_reads_neighbours_along_its_own_axis_first(self, name, axis):
        class Previous(torch.nn.Module):
            def forward(self, tokens):
                return tokens.roll(1, dims=1)

        class Nothing(torch.nn.Module):
            def forward(self, tokens):
                return 0 * tokens

        block, volume = TriDirectional(1, 2), torch.zeros(1, 1, 5, 6, 7)
        volume[0, 0, 2, 3, 4] = 6  # the six scans are averaged
        for other in ORDERS:
            block.forward_scans[other] = block.backward_scans[other] = Nothing()
        block.forward_scans[name] = block.backward_scans[name] = Previous()

        assert torch.equal(block(volume), (volume.roll(1, axis) + volume.roll(-1, axis)) / 6)

    def test_untrained_it_leaves_volumes_as_they_are(self):
        x = some(1, 3, 5, 18, 13)

        assert torch.equal(mamba(trained=False)(x), x[:, :1])

    @pytest.mark.parametrize("shape", [(5, 18, 13), (1, 8, 8), (12, 4, 4)])
    def test_volumes_of_any_size_are_corrected(self, shape):
        with torch.no_grad():
            found = mamba()(some(2, 3, *shape))

        assert found.shape == (2, 1, *shape)
        assert torch.isfinite(found).all()

    @pytest.mark.parametrize("where", [(0, 16, 0), (5, 0, 0), (0, 0, 16)])
    def test_what_is_far_away_along_any_axis_counts(self, where):
        torch.manual_seed(0)
        network = TriDirectional(4, 2)
        volume = some(1, 4, 6, 17, 17)
        changed = volume.clone()
        changed[(0, slice(None), *where)] += 1
        with torch.no_grad():
            difference = (network(changed) - network(volume))[0, :, 0, 0, 0]

        assert difference.abs().max() > 1e-9

    def test_all_its_weights_learn(self):
        network = mamba()

        network(some(1, 3, 4, 8, 8)).square().mean().backward()

        assert all(weight.grad.abs().max() > 0 for weight in network.parameters())

    def test_what_ships_stays_below_16_mb(self):
        with torch.device("meta"):
            assert 2 * sum(weight.numel() for weight in TriMamba().parameters()) < 16e6


class TestWhole:
    @pytest.mark.parametrize("steps", [1, 4])
    def test_untrained_it_is_the_linear_blend(self, steps):
        ends, fractions = 1000 * torch.rand(2, 3, 16, 24, generator=seeded(1)), (0.1, 0.15, 0.8)

        found = between(transformer(False), mamba(False), ends=ends, fractions=fractions, steps=steps)

        assert torch.allclose(found, linear_blend(ends[None], torch.tensor([fractions]))[0], rtol=1e-5)

    def test_the_same_seed_gives_the_same_volumes_and_another_one_others(self):
        stage1 = transformer()

        assert torch.equal(between(stage1), between(stage1))
        assert not torch.equal(between(stage1), between(stage1, seed=1))

    def test_slices_at_once_change_nothing_but_the_time(self):
        stage1 = transformer()

        assert torch.allclose(between(stage1), between(stage1, at_once=2), atol=1e-5)

    def test_the_intensity_scale_is_that_of_the_ends(self):
        ends = 0.5 + 0.2 * some(2, 3, 16, 24)

        found, bright = (between(transformer(), mamba(), ends=factor * ends) for factor in (1, 500))

        assert torch.allclose(500 * found, bright, rtol=1e-3, atol=0.1)

    def test_dark_ends_stay_dark_without_a_warning(self):
        assert brightness(torch.zeros(2, 3, 8, 8)) == 1.0
        assert torch.isfinite(between(transformer(), ends=torch.zeros(2, 1, 8, 8))).all()

    def test_more_frames_than_were_practised_at_once_are_made_in_several_runs(self):
        fractions = tuple(np.linspace(0.03, 0.97, 19).tolist())

        assert between(transformer(), fractions=fractions, steps=1).shape == (19, 3, 16, 24)

    def test_progress_reaches_its_end(self):
        told = []

        between(transformer(), mamba(), at_once=2, on_step=lambda done, total: told.append((done, total)))

        assert told == [(n + 1, 7) for n in range(7)]  # two groups of slices with two steps each, three volumes

    def test_stage_2_lets_slices_see_each_other_which_stage_1_does_not(self):
        stage1, stage2 = transformer(), mamba()
        ends = 0.5 + 0.2 * some(2, 3, 16, 24)
        ends[:, :, 0, 0] = 2.0  # keeps the brightness as it is
        other = ends.clone()
        other[:, 2, 8:, 8:] += 0.3

        def change_of_first_slice(*stages):
            return (between(*stages, ends=ends) - between(*stages, ends=other))[:, 0].abs().max()

        assert change_of_first_slice(stage1) < 1e-6
        assert change_of_first_slice(stage1, stage2) > 1e-5

    def test_one_sampling_run_takes_its_noise_from_outside(self):
        stage1, ends = transformer(), some(2, 2, 1, 16, 16)
        when, noise = torch.tensor([[0.2, 0.4]]).expand(2, -1), some(2, 2, 1, 16, 16, seed=7)

        first, second = (frames_between(stage1, ends, when, noise, steps=3) for _ in range(2))

        assert torch.equal(first, second)
        assert first.shape == (2, 2, 1, 16, 16)


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
        first, again = (FramesBetween(stock, CPU, count=2, side=32).batch(np.random.default_rng(5)) for _ in range(2))

        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_who_predicts_the_truth_makes_no_mistake(self, stock):
        exercise = FramesBetween(stock, CPU, count=2, side=32)
        batch = exercise.batch(np.random.default_rng(5))

        class Knowing:
            spread = 0.1

            def __call__(self, noisy, ends, fractions, level):
                return (batch.truth - linear_blend(ends, fractions)) / self.spread

        assert float(exercise.loss(Knowing(), batch, 0.0, np.random.default_rng(0))) == 0

    def test_it_gets_better_by_practice(self, stock):
        exercise = FramesBetween(stock, CPU, count=2, side=32)
        batch, network = exercise.batch(np.random.default_rng(4)), transformer(False, width=32)
        optimizer, mistakes = torch.optim.Adam(network.parameters(), 0.01), []
        for _ in range(15):
            optimizer.zero_grad()
            mistake = exercise.loss(network, batch, 0.0, np.random.default_rng(0))
            mistake.backward()
            optimizer.step()
            mistakes.append(mistake.item())

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
        optimizer, mistakes = torch.optim.Adam(network.parameters(), 0.01), []
        for _ in range(12):
            optimizer.zero_grad()
            mistake = exercise.loss(network, batch, 0.0, np.random.default_rng(0))
            mistake.backward()
            optimizer.step()
            mistakes.append(mistake.item())

        assert mistakes[-1] < 0.97 * mistakes[0]

    def test_it_is_watched_beside_stage_1_alone_which_it_is_before_training(self, stock):
        with torch.no_grad():
            scores = VolumesBetween(stock, CPU, transformer()).validate(mamba(trained=False))

        assert scores["psnr"] == pytest.approx(scores["psnr_stage1"], abs=1e-3)
        assert scores["psnr_linear"] != pytest.approx(scores["psnr_stage1"], abs=0.1)


class TestRecipes:
    @pytest.mark.parametrize("name", ["tssc-stage1", "tssc-stage2"])
    def test_their_small_configurations_train(self, name, stock, tmp_path, monkeypatch):
        monkeypatch.setattr(models, "load", lambda wanted, *_: {"tssc-stage1": transformer()}[wanted])
        recipe = importlib.import_module(f"STEnhanceLib.training.recipes.{name.replace('-', '_')}").SMALL
        tiny = {"tssc-stage1": SMALL, "tssc-stage2": {"features": 4, "blocks": 1, "states": 2}}[name]
        recipe = replace(recipe, configuration={**recipe.configuration, **tiny})
        without_watching = replace(stock, tuning=None)

        network, progress = trainer.train(recipe, recipe.exercise(without_watching, CPU), tmp_path, device=CPU, steps=2)

        assert progress.step == 2
        for weight in network.state_dict().values():
            assert torch.isfinite(weight.half()).all()
