"""TSSC-Net as a method: what it keeps, what it draws, what it says of that. The networks are small and untrained."""

from __future__ import annotations

import numpy as np
import pytest
from untrained import run, sequence_of, smooth

from STEnhanceLib import progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import find_method, parse_parameters
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.methods.run import enhance

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test")
pytestmark = pytest.mark.usefixtures("one_thread", "untrained")

SHAPE = (3, 2, 17, 22)  # odd, and no multiple of a patch


def frames_of(sequence, **settings):
    method = find_method("tssc-net")
    return list(enhance(method, sequence, parse_parameters(method, settings)).frames)


@pytest.mark.parametrize("periodic", [True, False])
def test_measured_frames_stay_bit_for_bit_and_the_others_are_called_invented(periodic):
    sequence = sequence_of(smooth(*SHAPE), periodic=periodic)

    found = run(sequence, "tssc-net", factor=3, steps=1)

    assert len(found) == (9 if periodic else 7)
    assert np.array_equal(found.frames[::3], sequence.frames)
    assert np.array_equal(found.ijk_to_ras, sequence.ijk_to_ras)
    assert any("invented by a network" in note for note in found.notes)
    unsupported = [frame.unsupported for frame in frames_of(sequence, factor=3, steps=1)]
    assert unsupported == [0.0 if n % 3 == 0 else 1.0 for n in range(len(found))]


def test_all_frames_of_a_gap_are_drawn_together_at_the_times_asked_for():
    sequence = sequence_of(smooth(*SHAPE))
    times = [0.0, 7.5, 21.25, 40.0, 66.0]

    found, alone = (
        run(sequence, "tssc-net", times_ms=text, steps=2, consistent_slices=False) for text in (as_text(times), "7.5")
    )

    assert np.array_equal(found.times_ms, times)
    # In the first slice the noise of the first frame is the same: it differs because it knows of the second one.
    apart = np.abs(found.frames[1, 0] - alone.frames[0, 0])
    assert 1e-4 < apart.max() < 1


def test_the_same_seed_draws_the_same_and_another_does_not():
    sequence = sequence_of(smooth(*SHAPE))

    first, again, other = (run(sequence, "tssc-net", steps=2, seed=seed).frames for seed in (4, 4, 5))

    assert np.array_equal(first, again)
    assert np.abs(other[1] - first[1]).max() > 1e-4


def test_gaps_between_the_same_frames_are_not_filled_with_the_same_noise():
    sequence = sequence_of(np.repeat(smooth(1, *SHAPE[1:]), 3, axis=0))

    found = run(sequence, "tssc-net", steps=2, consistent_slices=False).frames

    assert np.abs(found[1] - found[3]).max() > 1e-4


def test_a_gap_is_filled_the_same_whichever_others_are_asked_for():
    sequence = sequence_of(smooth(*SHAPE))

    all_of_them, second = (run(sequence, "tssc-net", steps=2, times_ms=text).frames for text in ("20,60", "60"))

    assert np.array_equal(all_of_them[1], second[0])


def test_no_voxel_falls_below_the_least_of_both_ends():
    dark = np.zeros(SHAPE, np.float32)
    dark[:, :, :8] = 1

    found = run(sequence_of(dark), "tssc-net", steps=1, samples=2)

    assert found.frames.min() >= 0
    assert found.frames[1, :, 8:].max() > 1e-3  # what is dark at both ends need not be so between


def test_several_samples_give_their_mean_and_their_spread():
    sequence = sequence_of(smooth(*SHAPE))

    one, three = frames_of(sequence, steps=2)[1], frames_of(sequence, steps=2, samples=3)[1]
    measured = frames_of(sequence, steps=2, samples=3)[2]

    assert not one.maps
    assert three.maps["spread"].shape == three.voxels.shape
    assert three.maps["spread"].min() >= 0
    assert three.maps["spread"].mean() > 1e-4
    assert not measured.maps["spread"].any()
    # One of three samples is nowhere further from their mean than √2 standard deviations.
    assert (np.abs(one.voxels - three.voxels) <= 1.42 * three.maps["spread"] + 1e-4).all()


def test_a_result_says_how_it_was_drawn_and_how_far_its_samples_are_spread():
    sequence = sequence_of(smooth(*SHAPE))

    one, several = (run(sequence, "tssc-net", steps=n, samples=n, seed=7) for n in (1, 2))
    spread = [frame.maps["spread"].mean() for frame in frames_of(sequence, steps=2, samples=2, seed=7)]

    assert "one sample of 1 diffusion step (seed 7)" in " ".join(one.notes)
    assert "the mean of 2 samples of 2 diffusion steps (seed 7)" in " ".join(several.notes)
    assert not any("spread" in note for note in one.notes)
    percent = 100 * np.mean(spread[1::2]) / np.percentile(sequence.frames, 99.9)
    assert any(note.startswith(f"Samples are spread by {percent:.2f} %") for note in several.notes)


def test_more_frames_than_are_drawn_together_are_told():
    sequence = sequence_of(smooth(2, 1, 8, 8))

    few, many = (run(sequence, "tssc-net", frame_duration_ms=40 / n, steps=1) for n in (17, 18))

    assert len(many) == len(few) + 1
    assert not any("may jump" in note for note in few.notes)
    assert any("16 at a time" in note and "may jump" in note for note in many.notes)


def test_the_second_network_corrects_the_slices_of_the_first():
    sequence = sequence_of(smooth(*SHAPE))

    both, first = (run(sequence, "tssc-net", steps=1, consistent_slices=on) for on in (True, False))

    assert np.abs(both.frames[1] - first.frames[1]).max() > 1e-4
    assert "tssc-stage2" in both.attributes["STEnhance.Model"]
    assert "tssc-stage2" not in first.attributes["STEnhance.Model"]


def test_intensities_of_any_scale_come_out_on_that_scale():
    sequence = sequence_of(smooth(*SHAPE))

    small, large = (run(sequence_of(c * sequence.frames), "tssc-net", steps=1).frames for c in (1, 4096))

    assert np.allclose(4096 * small, large, rtol=1e-4, atol=1e-2)


def test_two_frames_suffice_and_one_does_not():
    sequence = sequence_of(smooth(*SHAPE))

    assert len(run(sequence.with_frames([0, 1]), "tssc-net", steps=1)) == 3
    with pytest.raises(STEnhanceError, match="expected at least 2"):
        run(sequence.with_frames([0]), "tssc-net")


def test_who_cancels_need_not_wait_for_the_frames_of_a_gap():
    class EnoughError(Exception):
        pass

    def enough(text, share):
        told.append(text)
        if len(told) == 2:
            raise EnoughError

    told = []
    with progress.heard_by(enough, pause_s=0), pytest.raises(EnoughError):
        frames_of(sequence_of(smooth(*SHAPE)), steps=3)
    assert told[0].startswith("gap 1 of 2, step 1 of")
