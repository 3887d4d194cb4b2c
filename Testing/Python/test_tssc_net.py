"""TSSC-Net: frames between two measured ones by diffusion, then volumes made consistent along all three axes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

from small_tssc_net import between, mamba, seeded, some, transformer  # noqa: E402

from STEnhanceLib import networks  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.networks import ddim, diffusion_transformer, selective_scan, tri_mamba  # noqa: E402
from STEnhanceLib.networks.diffusion_transformer import (  # noqa: E402
    PAPER,
    linear_blend,
)
from STEnhanceLib.networks.intensity import brightness  # noqa: E402
from STEnhanceLib.networks.selective_scan import recurrence  # noqa: E402
from STEnhanceLib.networks.tri_mamba import ORDERS, TriDirectional, TriMamba  # noqa: E402
from STEnhanceLib.networks.tssc_net import frames_between  # noqa: E402

CPU = torch.device("cpu")

SHAPES = [(5, 6, 7), (1, 4, 6), (3, 2, 5)]  # no cubes: a wrong axis would not even fit, or bring tokens elsewhere


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
