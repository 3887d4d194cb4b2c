"""Joint space-time diffusion as two methods: what they keep, what they draw, what they say of that.

The networks are small and untrained.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from learned import DESCRIPTION
from untrained import UNTRAINED, run, sequence_of, smooth

from STEnhanceLib import models, networks, progress
from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.contestants import contestants
from STEnhanceLib.evaluation.protocols import find_protocol
from STEnhanceLib.methods import Task, find_method, parse_parameters, placement
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.methods.run import enhance

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test")
pytestmark = pytest.mark.usefixtures("one_thread", "untrained")

SHAPE = (3, 2, 18, 23)  # odd, and no multiple of what is folded
IN_TIME, IN_SPACE = "latent-diffusion", "latent-diffusion-sr"
QUICK = {"steps": 2, "samples": 2}


def frames_of(sequence, key=IN_TIME, **settings):
    method = find_method(key)
    return list(enhance(method, sequence, parse_parameters(method, settings)).frames)


def spread_of(frames):
    return np.stack([frame.maps["spread"] for frame in frames])


class TestInTime:
    @pytest.mark.parametrize("periodic", [True, False])
    def test_measured_frames_stay_bit_for_bit_and_the_others_are_called_invented(self, periodic):
        sequence = sequence_of(smooth(*SHAPE), periodic=periodic)

        found = run(sequence, IN_TIME, factor=3, **QUICK)
        frames = frames_of(sequence, factor=3, **QUICK)

        assert len(found) == (9 if periodic else 7)
        assert np.array_equal(found.frames[::3], sequence.frames)
        assert [frame.unsupported for frame in frames] == [float(n % 3 > 0) for n in range(len(found))]
        assert not spread_of(frames)[::3].any() and spread_of(frames)[1].mean() > 1e-5
        assert found.attributes["STEnhance.Generative"] == "yes"

    def test_finer_pixels_lie_where_the_measured_ones_did_at_the_times_asked_for(self, oblique_matrix):
        sequence, times = sequence_of(smooth(*SHAPE), oblique_matrix), [0.0, 7.5, 40.0, 66.0]

        found = run(sequence, IN_TIME, times_ms=as_text(times), enlarge=2.5, **QUICK)

        assert found.frames.shape == (4, 2, 45, 58)
        assert np.array_equal(found.times_ms, times)
        first, step = found.ijk_to_ras[:3, 3], found.ijk_to_ras[:3, 1] * 45
        assert np.allclose(first, oblique_matrix[:3, 3]) and np.allclose(step, oblique_matrix[:3, 1] * 18)

    def test_measured_frames_with_finer_pixels_keep_their_frequencies_unless_told_otherwise(self):
        sequence = sequence_of(smooth(*SHAPE))

        kept, changed = (run(sequence, IN_TIME, enlarge=2, data_consistency=on, **QUICK).frames for on in (True, False))

        measured = sequence.frames
        assert np.abs(centre_crop.crop(kept[::2], SHAPE[2:]) - measured).max() < 1e-4
        assert np.abs(centre_crop.crop(changed[::2], SHAPE[2:]) - measured).max() > 1e-3
        assert np.array_equal(kept[1::2], changed[1::2])  # nothing was measured there

    def test_two_frames_suffice_and_one_does_not(self):
        sequence = sequence_of(smooth(*SHAPE))

        assert len(run(sequence.with_frames([0, 1]), IN_TIME, **QUICK)) == 3
        with pytest.raises(STEnhanceError, match="expected at least 2"):
            run(sequence.with_frames([0]), IN_TIME, **QUICK)


class TestInSpace:
    def test_every_frame_gets_finer_and_keeps_what_was_measured(self):
        sequence = sequence_of(smooth(*SHAPE), periodic=True)

        found = run(sequence, IN_SPACE, factor=3, **QUICK)
        frames = frames_of(sequence, IN_SPACE, factor=3, **QUICK)

        zero_filled = centre_crop.zero_fill(sequence.frames, (54, 69))
        assert found.frames.shape == (3, 2, 54, 69)
        assert np.abs(centre_crop.crop(found.frames, SHAPE[2:]) - sequence.frames).max() < 1e-4
        invented = np.abs(found.frames - zero_filled)
        assert invented.max() > 1e-3
        share = np.stack([frame.unsupported for frame in frames])
        assert np.allclose(share * np.abs(found.frames), invented, atol=1e-4)

    def test_neighbours_tell_something_and_one_frame_suffices(self):
        sequence = sequence_of(smooth(*SHAPE))

        helped, alone = (run(sequence, IN_SPACE, neighbours=on, **QUICK).frames for on in (True, False))
        single = run(sequence.with_frames([1]), IN_SPACE, **QUICK).frames

        assert np.abs(helped - alone).max() > 1e-4
        assert np.allclose(single[0], alone[1], atol=0.05)  # its intensity scale is another

    def test_complex_images_are_sharpened_by_their_magnitude(self):
        sequence = sequence_of(smooth(*SHAPE))
        turned = replace(sequence, frames=sequence.frames * np.exp(0.5j).astype(np.complex64))

        found, expected = (run(one, IN_SPACE, **QUICK) for one in (turned, sequence))

        assert np.allclose(found.frames, expected.frames, atol=1e-2)
        assert any("complex" in note for note in found.notes)

    def test_far_more_pixels_than_it_was_trained_for_are_told(self):
        sequence = sequence_of(smooth(1, 1, 8, 8))

        assert any("more than 5 times" in note for note in run(sequence, IN_SPACE, factor=7, **QUICK).notes)
        assert not any("more than 5 times" in note for note in run(sequence, IN_SPACE, factor=4, **QUICK).notes)


@pytest.mark.parametrize("key", [IN_TIME, IN_SPACE])
class TestDraws:
    def test_the_same_seed_draws_the_same_and_another_does_not(self, key):
        sequence = sequence_of(smooth(*SHAPE))

        first, again, other = (run(sequence, key, seed=seed, **QUICK).frames[1] for seed in (4, 4, 5))

        assert np.array_equal(first, again)
        assert np.abs(other - first).max() > 1e-5

    def test_one_sample_has_no_spread_and_several_have(self, key):
        sequence = sequence_of(smooth(*SHAPE))

        one = frames_of(sequence, key, steps=2, samples=1)[1]
        three = frames_of(sequence, key, steps=2, samples=3)[1]

        assert not one.maps
        spread = three.maps["spread"]
        assert spread.shape == three.voxels.shape and spread.dtype == np.float32
        assert spread.min() >= 0 and spread.mean() > 1e-5
        # One of three samples is nowhere further from their mean than √2 standard deviations.
        assert (np.abs(one.voxels - three.voxels) <= 1.42 * spread + 1e-3).all()

    def test_where_memory_is_short_one_sample_of_one_slice_is_drawn_at_a_time(self, key, monkeypatch):
        sequence, seen = sequence_of(smooth(*SHAPE)), []
        whole = frames_of(sequence, key, steps=1, samples=3)[1]
        watched = models.load("latent-diffusion").register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
        monkeypatch.setattr(placement, "LARGEST", 1)

        alone = frames_of(sequence, key, steps=1, samples=3)[1]

        watched.remove()
        assert set(seen) == {1}
        assert np.allclose(alone.voxels, whole.voxels, atol=1e-2)
        assert np.allclose(alone.maps["spread"], whole.maps["spread"], atol=1e-2)

    def test_a_model_of_another_autoencoder_is_refused(self, key, untrained_folder, tmp_path, monkeypatch):
        kind, configuration = UNTRAINED["latent-diffusion"]
        wider = {**configuration, "channels": 6}
        described = {**DESCRIPTION, "task": "temporal interpolation"}
        models.save(tmp_path / "wider", networks.build(kind, wider), "wider", kind, wider, described)
        monkeypatch.setenv(models.VARIABLE, f"{tmp_path}{os.pathsep}{untrained_folder}")

        with pytest.raises(STEnhanceError, match="wider takes latents of 6 channels, and latent-autoencoder makes 4"):
            run(sequence_of(smooth(*SHAPE)), key, model="wider")

    def test_a_result_says_how_it_was_drawn_and_by_which_models(self, key):
        found = run(sequence_of(smooth(*SHAPE)), key, steps=3, samples=2, seed=7)

        assert any("the mean of 2 samples of 3 diffusion steps (seed 7)" in note for note in found.notes)
        assert any("Samples are spread by" in note and "% of the 99.9th percentile" in note for note in found.notes)
        models = found.attributes["STEnhance.Model"]
        assert "latent-diffusion 1.2 sha256" in models and "latent-autoencoder 1.2 sha256" in models

    def test_intensities_of_any_scale_come_out_on_that_scale(self, key):
        sequence = sequence_of(smooth(*SHAPE))
        bright = replace(sequence, frames=4096 * sequence.frames)

        small, large = (run(one, key, **QUICK).frames for one in (sequence, bright))

        assert np.allclose(4096 * small, large, rtol=1e-4, atol=1)

    def test_who_cancels_need_not_wait_for_a_frame(self, key):
        class EnoughError(Exception):
            pass

        def enough(text, share):
            told.append(text)
            if "step 2 of 3" in text:
                raise EnoughError

        told = []
        with progress.heard_by(enough, pause_s=0), pytest.raises(EnoughError):
            frames_of(sequence_of(smooth(*SHAPE)), key, steps=3)
        assert any("step 1 of 3" in text for text in told)

    @pytest.mark.parametrize("setting", [{"steps": 0}, {"steps": 16}, {"samples": 17}, {"samples": 0}])
    def test_other_numbers_are_refused(self, key, setting):
        (name,) = setting
        with pytest.raises(STEnhanceError, match=f"{key}: {name}=.* was given; expected a whole number from 1 to"):
            parse_parameters(find_method(key), setting)


class TestProtocol:
    """`st48` asks for both at once: who can do both is not followed by zero-filling."""

    def test_a_method_that_makes_finer_pixels_itself_works_alone(self, beating_disc):
        frames = np.repeat(beating_disc.frames, 3, axis=0)[:24, :1]
        trial = find_protocol("st48").trial(replace(beating_disc, frames=frames, times_ms=30.0 * np.arange(24)))

        alone, told, followed = contestants(Task.TEMPORAL_INTERPOLATION, [IN_TIME, f"{IN_TIME}[enlarge=1]", "motion"])[
            -2:
        ] + [one for one in contestants(Task.TEMPORAL_INTERPOLATION, ["motion"]) if one.label == "motion"]

        assert alone.row_label(trial) == IN_TIME
        assert [method.key for method, _ in alone.steps("st48", trial)] == [IN_TIME]
        assert alone.steps("st48", trial)[0][1]["enlarge"] == 4
        assert told.row_label(trial) == f"{IN_TIME}[enlarge=1] + zero-fill"
        assert [method.key for method, _ in followed.steps("st48", trial)] == ["motion", "zero-fill"]
