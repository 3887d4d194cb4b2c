"""The xt/yt U-Net: cleans cines as x–t and y–t slices, held to the k-space where there is one."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from learned import DESCRIPTION
from untrained import UNTRAINED, random_network

from STEnhanceLib import models
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.run import announcement, enhance_all
from STEnhanceLib.methods.xt_yt import (
    CLOSED,
    LED_BACK,
    MIXED,
    NOT_CHECKED,
    NOT_CONSISTENT,
    NOT_MIXED,
    WITHOUT_KSPACE,
)
from STEnhanceLib.phantoms.thorax import Thorax

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

from STEnhanceLib.acquisition.operators import slice_operators  # noqa: E402
from STEnhanceLib.networks import xt_yt_unet  # noqa: E402
from STEnhanceLib.networks.xt_yt_cascade import XtYtCascade  # noqa: E402
from STEnhanceLib.networks.xt_yt_unet import XtYtUnet, as_channels, as_complex  # noqa: E402

SMALL = {"features": 4, "stages": 2, "convolutions": 1}
XT_YT, TV = find_method("xt-yt"), find_method("temporal-tv")


def cine(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def unet(**configuration) -> XtYtUnet:
    torch.manual_seed(2)
    return XtYtUnet(**{**SMALL, **configuration}).eval()


def enhanced(sequence, kspace=None, **settings):
    return enhance_all(XT_YT, sequence, parse_parameters(XT_YT, settings), kspace=kspace)


@pytest.fixture
def acquired(beating_disc):
    """The same disc from interleaved lines of eight coils."""
    return simulate(beating_disc, "c4")


class TestUnet:
    @pytest.mark.parametrize("shape", [(2, 8, 24, 24), (2, 7, 21, 30), (2, 1, 16, 16), (2, 5, 9, 40)])
    def test_without_a_correction_images_come_back_for_any_size_and_number_of_frames(self, shape):
        network = unet()
        torch.nn.init.zeros_(network.gain)
        images = cine(*shape)

        assert torch.allclose(network(images), images, atol=1e-5)

    def test_rows_and_columns_are_treated_alike_by_one_network(self):
        network, images = unet(), cine(2, 8, 16, 24)

        turned = network(images.transpose(-1, -2)).transpose(-1, -2)

        assert torch.allclose(network(images), turned, atol=1e-5)

    @pytest.mark.parametrize("frequencies", [True, False])
    def test_planes_in_chunks_give_the_same_as_all_at_once(self, frequencies, monkeypatch):
        network, images = unet(frequencies=frequencies), cine(2, 8, 16, 24)
        with torch.inference_mode():
            at_once = network(images)
            monkeypatch.setattr(xt_yt_unet, "AT_ONCE", 200)
            in_chunks = network(images)

        assert torch.allclose(in_chunks, at_once, atol=1e-5)

    def test_on_temporal_frequencies_the_mean_of_each_voxel_stays(self):
        """Subtracted before the network and added after it; the correction may move it, but not at frequency zero."""
        network = unet()
        still = cine(2, 1, 16, 24).expand(-1, 8, -1, -1)

        assert torch.allclose(network(still), still, atol=1e-5)

    def test_image_learning_predicts_images_and_residual_learning_adds_to_them(self):
        direct = unet(channels=1, frequencies=False, residual=False)
        residual = unet(channels=1, frequencies=False, residual=True)
        torch.nn.init.zeros_(direct.gain), torch.nn.init.zeros_(residual.gain)
        images = cine(1, 4, 16, 16)

        assert not direct(images).any()
        assert torch.allclose(residual(images), images)

    @pytest.mark.parametrize(
        ("times", "mirrored"), [(8, range(8)), (7, [*range(7), 5]), (5, [0, 1, 2, 3, 4, 3, 2, 1]), (2, [0, 1, 0, 1])]
    )
    def test_on_frames_the_end_of_what_is_no_cycle_is_mirrored(self, times, mirrored):
        network, images = unet(channels=1, frequencies=False, stages=3), cine(1, times, 16, 24)

        expected = network(images[:, list(mirrored)])[:, :times]

        assert torch.allclose(network(images, periodic=False), expected, atol=1e-6)

    @pytest.mark.parametrize("times", [1, 2, 3, 5, 8])
    def test_temporal_frequencies_of_what_is_no_cycle_are_those_of_a_longer_one_without_a_jump(self, times):
        network, images = unet(), cine(2, times, 16, 24)
        longer = xt_yt_unet._led_back(images)

        assert torch.equal(longer[:, :times], images)
        assert torch.allclose(network(images, periodic=False), network(longer)[:, :times], atol=1e-6)
        ramp = torch.arange(8.0).view(1, 8, 1, 1)
        around = xt_yt_unet._led_back(ramp)[0, :, 0, 0]
        assert (around - around.roll(1)).abs().max() < 4, "the jump from 7 to 0 is spread out"

    def test_parts_of_complex_images_return_to_them(self):
        images = torch.complex(cine(3, 4, 5), cine(3, 4, 5).flip(0))

        assert torch.equal(as_complex(as_channels(images)), images)

    def test_it_is_the_size_that_was_published(self):
        """K16 has 0.21 M parameters with four convolutions per stage."""
        published = XtYtUnet(features=16, convolutions=4, fold=1)

        assert sum(values.numel() for values in published.parameters()) == pytest.approx(0.21e6, rel=0.25)


class TestCascade:
    @pytest.mark.parametrize("acquisition", ["c4", "r26"])
    def test_data_consistency_holds_the_result_to_the_samples(self, beating_disc, acquisition):
        if acquisition == "r26":
            pytest.importorskip("torchkbnufft")
        operator, _ = next(iter(slice_operators(simulate(beating_disc, acquisition).kspace, "cpu")))
        samples = operator.forward(torch.from_numpy(beating_disc.frames[:, 0] / 100).to(torch.complex64))
        torch.manual_seed(2)
        network = XtYtCascade(**SMALL, blocks=2, steps=6)
        torch.nn.init.constant_(network.log_strengths, -6.0)

        def misfit(consistent):
            with torch.no_grad():
                return float((operator.forward(network(operator, samples, consistent)) - samples).norm())

        assert misfit(True) < 0.5 * misfit(False)

    def test_its_strengths_and_networks_learn_through_the_conjugate_gradients(self, acquired):
        operator, samples = next(iter(slice_operators(acquired.kspace, "cpu")))
        network = XtYtCascade(**SMALL, blocks=2)

        network(operator, samples / 100).abs().mean().backward()

        assert network.log_strengths.grad.abs().min() > 0
        assert all(block.gain.grad.abs() > 0 for block in network.networks)


class TestMethod:
    def test_with_k_space_the_residual_and_the_model_are_on_record(self, acquired, untrained):
        result = enhanced(acquired.sequence, acquired.kspace)

        assert "differs from the measured samples" in result.attributes["STEnhance.Assumed"]
        assert NOT_CHECKED not in result.notes
        assert result.attributes["STEnhance.Model"].startswith("xt-yt-cartesian")
        assert np.array_equal(result.ijk_to_ras, acquired.sequence.ijk_to_ras)
        assert np.array_equal(result.times_ms, acquired.sequence.times_ms)

    def test_spokes_have_a_model_of_their_own(self, beating_disc, untrained):
        pytest.importorskip("torchkbnufft")
        acquired = simulate(beating_disc, "r26")

        result = enhanced(acquired.sequence, acquired.kspace)

        assert result.attributes["STEnhance.Model"].startswith("xt-yt-radial")

    @pytest.mark.parametrize(("learning", "model"), [("residual", "xt-yt-images "), ("image", "xt-yt-images-direct ")])
    def test_images_alone_are_cleaned_and_the_result_says_that_nothing_was_checked(
        self, acquired, untrained, learning, model
    ):
        result = enhanced(acquired.sequence, learning=learning)

        assert NOT_CHECKED in result.notes
        assert WITHOUT_KSPACE in result.notes, "the parameters on record say 2021"
        assert result.attributes["STEnhance.Model"].startswith(model)
        assert not np.array_equal(result.frames, acquired.sequence.frames)

    def test_the_form_of_2020_leaves_k_space_aside_and_says_so(self, acquired, untrained):
        with_kspace = enhanced(acquired.sequence, acquired.kspace, form="2020")

        assert NOT_CHECKED in with_kspace.notes and WITHOUT_KSPACE not in with_kspace.notes
        assert np.array_equal(with_kspace.frames, enhanced(acquired.sequence).frames)

    @pytest.mark.parametrize("with_kspace", [True, False])
    def test_the_intensity_scale_of_the_input_is_kept(self, acquired, untrained, with_kspace):
        brighter = dataclasses.replace(acquired.sequence, frames=1000 * acquired.sequence.frames)
        kspace = acquired.kspace if with_kspace else None
        much = with_kspace and dataclasses.replace(
            kspace, samples=1000 * kspace.samples, noise_std=1000 * kspace.noise_std
        )

        result, bright = enhanced(acquired.sequence, kspace), enhanced(brighter, much or None)

        assert np.abs(bright.frames - 1000 * result.frames).max() < 0.01 * bright.frames.max()

    def test_slices_are_reconstructed_independently(self, acquired, untrained):
        whole = enhanced(acquired.sequence)
        second = enhanced(acquired.sequence.part(range(len(acquired.sequence)), slice(1, 2)))

        assert np.allclose(whole.frames[:, 1], second.frames[:, 0], atol=1e-3 * whole.frames.max())

    def test_spokes_of_what_is_no_cycle_are_led_back_to_the_first_frame_and_a_note_says_so(
        self, beating_disc, untrained
    ):
        pytest.importorskip("torchkbnufft")
        acquired = simulate(beating_disc, "r26")
        open_ended = dataclasses.replace(acquired.sequence, periodic=False)

        led_back, closed = enhanced(open_ended, acquired.kspace), enhanced(acquired.sequence, acquired.kspace)

        assert LED_BACK in led_back.notes and CLOSED not in led_back.notes
        assert len(led_back) == len(closed) and LED_BACK not in closed.notes
        assert np.abs(led_back.frames - closed.frames).max() > 1e-4 * closed.frames.max()

    def test_half_a_heartbeat_from_spokes_is_better_at_its_ends_than_as_a_cycle(self):
        """With the shipped weights."""
        pytest.importorskip("torchkbnufft")
        half = Thorax(breathing_mm=0).cine(frames=20, matrix=64, slices=1).with_frames(range(10))
        acquired = simulate(half, "r13")
        ends, errors = [0, -1], []

        for periodic in (True, False):
            result = enhanced(dataclasses.replace(acquired.sequence, periodic=periodic), acquired.kspace)
            errors.append(np.square(result.frames[ends] - half.magnitude()[ends]).sum((1, 2, 3)))

        assert (errors[1] < errors[0]).all()

    def test_lines_of_what_is_no_cycle_come_with_the_note_that_time_was_closed(self, acquired, untrained):
        open_ended = dataclasses.replace(acquired.sequence, periodic=False)

        assert CLOSED in enhanced(open_ended, acquired.kspace).notes
        assert CLOSED not in enhanced(acquired.sequence, acquired.kspace).notes
        assert CLOSED not in enhanced(open_ended).notes

    def test_on_images_alone_the_ends_of_what_is_no_cycle_do_not_see_each_other(self, acquired, untrained):
        seven = acquired.sequence.with_frames(range(7))  # the network takes multiples of four
        closed, open_ended = (enhanced(dataclasses.replace(seven, periodic=cycle)) for cycle in (True, False))

        assert np.abs(open_ended.frames[-1] - closed.frames[-1]).max() > 1e-3 * closed.frames.max()

    def test_total_variation_may_have_a_share_in_the_result_and_all_of_it_is_its_own_result(self, acquired, untrained):
        tv = enhance_all(TV, acquired.sequence, parse_parameters(TV, {}), kspace=acquired.kspace)

        half, all_of_it = (enhanced(acquired.sequence, acquired.kspace, tv_share=share) for share in (0.5, 1.0))

        assert np.allclose(all_of_it.frames, tv.frames, atol=1e-4 * tv.frames.max())
        assert MIXED.format(0.5) in half.notes and "50%" in half.attributes["STEnhance.Assumed"]
        assert np.abs(half.frames - tv.frames).max() > 0.01 * tv.frames.max()

    def test_without_k_space_total_variation_has_no_share_and_a_note_says_so(self, acquired, untrained):
        result = enhanced(acquired.sequence, tv_share=0.5)

        assert NOT_MIXED in result.notes
        assert np.array_equal(result.frames, enhanced(acquired.sequence).frames)

    def test_without_data_consistency_a_note_says_so(self, acquired, untrained):
        assert NOT_CONSISTENT in enhanced(acquired.sequence, acquired.kspace, data_consistency="false").notes

    def test_a_model_for_another_network_is_refused(self, acquired, untrained):
        with pytest.raises(STEnhanceError, match="stenhance-sr"):
            enhanced(acquired.sequence, acquired.kspace, model="stenhance-sr")

    def test_the_input_stays_as_it_was(self, acquired, untrained):
        before = acquired.sequence.frames.copy(), acquired.kspace.samples.copy()

        enhanced(acquired.sequence, acquired.kspace)

        assert np.array_equal(before[0], acquired.sequence.frames)
        assert np.array_equal(before[1], acquired.kspace.samples)

    def test_a_model_of_your_own_for_k_space_is_planned_and_taken(self, acquired, untrained, tmp_path, monkeypatch):
        description = {**DESCRIPTION, "task": "artefact reduction"}
        models.save(
            tmp_path / "mine", random_network("xt-yt-cartesian"), "mine", *UNTRAINED["xt-yt-cartesian"], description
        )
        monkeypatch.setenv(models.VARIABLE, str(tmp_path))

        grid, parameters = acquired.sequence.grid, parse_parameters(XT_YT, {"model": "mine"})

        assert announcement(XT_YT, grid, parameters, has_kspace=True).grid is grid
        with pytest.raises(STEnhanceError, match="expected 'xt-yt-unet'"):
            announcement(XT_YT, grid, parameters)
        assert (
            enhanced(acquired.sequence, acquired.kspace, model="mine").attributes["STEnhance.Model"].startswith("mine ")
        )

    def test_spokes_without_the_package_for_them_are_refused_in_one_sentence(
        self, beating_disc, untrained, monkeypatch
    ):
        pytest.importorskip("torchkbnufft")
        acquired = simulate(beating_disc, "r26")
        monkeypatch.delitem(sys.modules, "STEnhanceLib.acquisition.radial")
        monkeypatch.setitem(sys.modules, "torchkbnufft", None)  # importing it now fails as if it were absent

        with pytest.raises(STEnhanceError, match=r"^The k-space is radial, which needs torchkbnufft, [^.]*\.$"):
            enhanced(acquired.sequence, acquired.kspace)
