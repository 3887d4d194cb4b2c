"""Joint space-time diffusion: its autoencoder, its shift, its network, and how it practises."""

from __future__ import annotations

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

from practising import mistakes_of_practice  # noqa: E402
from small_latent_diffusion import CHANNELS, autoencoder, images_of, sharp, some, unet  # noqa: E402

from STEnhanceLib import networks  # noqa: E402
from STEnhanceLib.acquisition.centre_crop_torch import resample  # noqa: E402
from STEnhanceLib.errors import STEnhanceError  # noqa: E402
from STEnhanceLib.motion.both_ends import around  # noqa: E402
from STEnhanceLib.motion.course import Place  # noqa: E402
from STEnhanceLib.motion.trajectories import MovingFrames  # noqa: E402
from STEnhanceLib.networks import residual_shift  # noqa: E402
from STEnhanceLib.networks.latent_diffusion import drawn, latent_size  # noqa: E402
from STEnhanceLib.networks.residual_shift import KAPPA, LEVELS, shares, shifted  # noqa: E402
from STEnhanceLib.networks.vq_autoencoder import Quantiser  # noqa: E402
from STEnhanceLib.phantoms.thorax import Thorax  # noqa: E402
from STEnhanceLib.training.exercises.coded_images import CodedImages  # noqa: E402
from STEnhanceLib.training.exercises.latent_moments import LatentMoments  # noqa: E402
from STEnhanceLib.training.exercises.moments_at_low_resolution import moments  # noqa: E402
from STEnhanceLib.training.stock import Stock  # noqa: E402

CPU = torch.device("cpu")


class TestShift:
    def test_its_square_root_grows_as_published(self):
        eta = shares()

        assert len(eta) == LEVELS + 1 == 16
        assert eta[0] == 0
        assert eta[1].sqrt() * KAPPA == pytest.approx(0.04)  # the noise of the first step
        assert eta[-1] == pytest.approx(0.99)
        assert (eta.diff() > 0).all()
        # Yue et al., equation 11: √η_t = √η_1 · b^((t-1)/(T-1))^p · (T-1), so that its logarithm goes with a power.
        part = (eta[1:].log() - eta[1].log()) / (eta[-1].log() - eta[1].log())
        assert torch.allclose(part, (torch.arange(15) / 14) ** 0.3, atol=1e-5)

    def test_it_goes_from_the_truth_to_the_blurred_image_with_noise(self):
        clean, start, noise = torch.zeros(3, 50_000), torch.ones(3, 50_000), some(3, 50_000)

        images = shifted(clean, start, noise, torch.tensor([0, 8, 15]))

        assert torch.equal(images[0], clean[0])
        assert images[1].mean() == pytest.approx(float(shares()[8]), abs=0.03)
        assert images[2].mean() == pytest.approx(0.99, abs=0.03)
        assert images[2].std() == pytest.approx(2 * 0.99**0.5, rel=0.02)

    @pytest.mark.parametrize("steps", [1, 4, 15])
    def test_whoever_knows_the_truth_finds_it_in_any_number_of_steps(self, steps):
        truth, levels = some(2, 5), []

        def knowing(x, level):
            levels.append(int(level[0]))
            return truth

        found = residual_shift.sample(knowing, some(2, 5, seed=3), some(steps, 2, 5, seed=9))

        assert torch.allclose(found, truth)
        assert len(levels) == steps and levels[0] == 15 and levels == sorted(set(levels), reverse=True)

    def test_every_step_finds_the_images_where_its_level_says(self):
        """Each step of the reverse has the mean and the noise of the forward shift at its level."""
        clean, start, met = torch.zeros(1, 40_000), torch.ones(1, 40_000), {}

        def knowing(x, level):
            met[int(level[0])] = x
            return clean

        residual_shift.sample(knowing, start, some(5, 1, 40_000))

        for level, x in met.items():
            eta = float(shares()[level])
            assert x.mean() == pytest.approx(eta if level < 15 else 1.0, abs=0.03)
            assert x.std() == pytest.approx(KAPPA * eta**0.5, rel=0.03)

    @pytest.mark.parametrize("steps", [0, 16])
    def test_other_numbers_of_steps_are_refused(self, steps):
        with pytest.raises(STEnhanceError, match=f"{steps} steps of the residual shift .* expected 1 to 15"):
            residual_shift.sample(lambda x, level: x, some(1, 2), some(steps, 1, 2))


class TestQuantiser:
    def test_what_comes_out_is_made_of_codes(self):
        quantiser = Quantiser(4, group=2, stages=1, codes=8).eval()

        found = quantiser(some(2, 4, 3, 5)).unflatten(1, (2, 2))

        for group in range(2):
            vectors = found[:, group].movedim(1, -1).flatten(0, 2)
            assert _to_nearest(vectors, quantiser.codes[0, group]).max() == 0

    def test_it_takes_the_nearest_code(self):
        quantiser, latents = Quantiser(2, group=2, stages=1, codes=32).eval(), some(1, 2, 6, 6)

        found = quantiser(latents)

        vectors = latents.movedim(1, -1).flatten(0, 2)
        nearest = _to_nearest(vectors, quantiser.codes[0, 0])
        assert torch.allclose((found - latents).norm(dim=1).flatten(), nearest, atol=1e-5)

    def test_codes_follow_what_they_stand_for_and_all_get_used(self):
        quantiser, latents = Quantiser(4, group=2, stages=2, codes=16).train(), 3 + 0.1 * some(2, 4, 16, 16)
        for _ in range(60):
            quantiser(latents)

        error = (quantiser.eval()(latents) - latents).square().mean()

        assert error < 0.1 * 0.1**2  # of 256 codes in two stages; no code lay there before
        assert (quantiser.uses > 0).all()

    def test_gradients_pass_as_if_nothing_had_been_rounded(self):
        network, latents = autoencoder(), some(1, CHANNELS, 3, 3).requires_grad_()

        found = network.rounded(latents)
        (3 * found).sum().backward()

        assert not torch.allclose(found, latents)
        assert torch.equal(latents.grad, torch.full_like(latents, 3.0))

    def test_groups_must_be_whole(self):
        with pytest.raises(STEnhanceError, match="5 channels do not make groups of 2"):
            networks.build("vq-autoencoder", {"channels": 5})


class TestAutoencoder:
    @pytest.mark.parametrize("shape", [(16, 20), (13, 18), (4, 4)])
    def test_images_of_any_size_come_back_in_that_size(self, shape):
        network, images = autoencoder(), torch.rand(2, 1, *shape)

        assert network.encode(images).shape == (2, CHANNELS, -(-shape[0] // 4), -(-shape[1] // 4))
        assert network(images).images.shape == images.shape

    def test_latents_get_mean_0_and_size_1_while_it_practises_and_keep_how_bright_images_are(self):
        network, images = autoencoder().train(), 5 * torch.rand(4, 1, 32, 32)
        for _ in range(3):
            network.encode(images)

        latents = network.eval().encode(images)

        assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(CHANNELS), atol=0.01)
        assert torch.allclose(latents.std((0, 2, 3)), torch.ones(CHANNELS), atol=0.01)
        assert not torch.allclose(network.encode(2 * images), latents, atol=0.1)

    def test_practice_brings_images_back(self):
        exercise, network = CodedImages(_stock(), CPU, side=32), autoencoder().train()
        batch = exercise.batch(np.random.default_rng(0))

        mistakes = mistakes_of_practice(exercise, network, batch, 5e-3, 40)

        assert batch.shape == (8, 1, 32, 32)
        assert mistakes[-1] < 0.5 * mistakes[0]
        assert exercise.validate(network.eval().requires_grad_(False)).keys() == {"psnr", "ssim"}


class TestNetwork:
    def test_before_training_it_changes_nothing(self):
        images = images_of(24, 32)

        assert torch.equal(sharp(unet(trained=False), images), images[:, :1])

    def test_it_looks_at_all_it_is_told(self):
        network = unet()
        given = {
            "noisy": some(1, CHANNELS, 4, 6),
            "level": torch.tensor([7]),
            "start": some(1, CHANNELS, 4, 6, seed=5),
            "images": images_of(16, 24, count=1),
            "fraction": torch.tensor([0.3]),
            "support": torch.tensor([[0.25, 0.5]]),
        }
        usual = network(**given)
        other = {
            "noisy": given["noisy"] + 1,
            "level": torch.tensor([8]),
            "images": given["images"] + torch.tensor([0.0, 0.0, 0.1]).view(1, 3, 1, 1),
            "fraction": torch.tensor([0.0]),
            "support": torch.tensor([[0.5, 0.25]]),
        }

        assert usual.shape == given["start"].shape
        for name, value in other.items():
            assert (network(**{**given, name: value}) - usual).abs().max() > 1e-4, name
        moved = network(**{**given, "start": given["start"] + 1}) - usual
        assert moved.mean().item() == pytest.approx(1.0, abs=0.2)  # it finds how the truth differs from the start

    @pytest.mark.parametrize("shape", [(24, 32), (21, 30), (5, 7)])
    def test_the_same_noise_gives_the_same_images_of_any_size(self, shape):
        images = images_of(*shape)

        first, again, other = (sharp(unet(), images, seed=seed) for seed in (0, 0, 1))

        assert first.shape == (2, 1, *shape)
        assert torch.equal(first, again)
        assert (first - other).abs().max() > 1e-3

    def test_the_shipped_size_fits_where_models_must_fit(self):
        from STEnhanceLib.training.recipe import find_recipe

        for name in ("latent-autoencoder", "latent-diffusion"):
            recipe = find_recipe(name)
            numbers = sum(
                values.numel() for values in networks.build(recipe.network, recipe.configuration).parameters()
            )
            assert 2 * numbers < 16 * 2**20  # in half precision


class TestMoments:
    """A bright square that moves by half a pixel per frame, seen with all pixels and with a quarter of them."""

    @pytest.mark.parametrize("moment", [2, 4, 6])
    def test_both_ends_are_brought_to_the_moment_between_them(self, moment):
        frames = _moving_square(9)
        moving = MovingFrames(frames[[0, 8], None], (1.3, 1.3, 8.0), 0.01, "cpu")

        found = around(moving, [Place(0, 0.0), Place(1, 8.0)], float(moment))[:, 0]

        off = np.abs(frames[[0, 8]] - frames[moment]).mean((1, 2))
        left = np.abs(found - frames[moment]).mean((1, 2))
        assert all(left[1:] < 0.35 * off) and left[0] < 0.35 * min(off)

    def test_a_measured_moment_is_itself_with_its_neighbours_brought_to_it(self):
        frames = _moving_square(9)
        moving = MovingFrames(frames[::4, None], (1.3, 1.3, 8.0), 0.01, "cpu")
        path = [Place(0, 0.0), Place(1, 4.0), Place(2, 8.0)]

        middle, first = around(moving, path, 4.0)[:, 0], around(moving, path[:2], 0.0)[:, 0]

        off = np.abs(frames[0] - frames[4]).mean()
        assert np.array_equal(middle[0], frames[4])
        assert all(np.abs(image - frames[4]).mean() < 0.35 * off for image in middle[1:])
        assert np.array_equal(first[0], frames[0]) and np.array_equal(first[1], frames[0])  # for want of another one
        assert np.abs(first[2] - frames[0]).mean() < 0.35 * off

    def test_single_frames_stand_in_for_their_neighbours(self):
        moving = MovingFrames(_moving_square(1)[:, None], (1.3, 1.3, 8.0), 0.01, "cpu")

        found = around(moving, [Place(0, 0.0)], 0.0)

        assert np.array_equal(found, np.repeat(found[:1], 3, axis=0))

    def test_what_is_practised_is_what_the_method_gives(self):
        truth = torch.from_numpy(_moving_square(17))
        low = resample(truth[::8], (16, 16))

        found = moments(truth, low, 8, [0, 4, 12], 1.3)

        assert found.images.shape == (3, 3, 64, 64) and found.truth.shape == (3, 1, 64, 64)
        assert torch.equal(found.fraction, torch.tensor([0.0, 0.5, 0.5]))
        assert torch.equal(found.support, torch.full((3, 2), 0.25))
        assert torch.allclose(found.images[0, 0], resample(low[0], (64, 64)))
        assert torch.equal(found.truth[:, 0], truth[[0, 4, 12]])


def test_practice_gets_better_than_zero_filling():
    exercise = LatentMoments(_stock(), CPU, autoencoder(), scenes=3, count=2, side=32)
    batch, network = exercise.batch(np.random.default_rng(0)), unet(trained=False)
    with torch.no_grad():
        shape = (1, 2, CHANNELS, *latent_size(network, (32, 32)))
        before = drawn(autoencoder(), network, batch.images, batch.fraction, batch.support, torch.zeros(shape))

    mistakes = mistakes_of_practice(exercise, network, batch, 3e-3, 40)

    assert batch.images.shape == (2, 3, 32, 32)
    assert torch.allclose(before, batch.images[:, :1], atol=1e-6)  # so that the first mistake is that of zero-filling
    assert mistakes[-1] < 0.95 * mistakes[0]
    assert all(values.grad is not None for values in network.parameters())
    assert torch.equal(batch.images, exercise.batch(np.random.default_rng(0)).images)
    scores = exercise.validate(network.eval().requires_grad_(False))
    assert {"psnr_start", "psnr_1", "ssim_4"} <= scores.keys()


def _to_nearest(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return (vectors[:, None] - codes).norm(dim=-1).min(dim=1).values


@functools.cache
def _stock() -> Stock:
    cine = Thorax(0).cine(frames=20, matrix=64, slices=3).frames
    return Stock([cine / cine.max()], [], [], cine / cine.max(), ("somebody",))


def _moving_square(frames: int) -> np.ndarray:
    j, i = np.mgrid[:64, :64]
    images = [1 / (1 + np.exp(np.maximum(np.abs(j - 30), np.abs(i - 28 - t / 2)) - 10)) for t in range(frames)]
    return (0.1 + np.stack(images)).astype(np.float32)
