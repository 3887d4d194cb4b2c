"""What every temporal interpolation does with input at the edge of sense, those with networks included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: most of them need it")
pytest.importorskip("safetensors")
from untrained import run, sequence_of, smooth

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Task, find_method, methods_for

pytestmark = pytest.mark.usefixtures("one_thread", "untrained")

KEYS = [method.key for method in methods_for(Task.TEMPORAL_INTERPOLATION)]
WITHOUT_CYCLE = [key for key in KEYS if key != "fourier"]  # which needs one
SHAPE = (2, 18, 22)
QUICK = {"steps": 1, "samples": 2}


def quickly(sequence, key: str, **settings):
    known = find_method(key).parameters.__dataclass_fields__
    return run(sequence, key, **settings, **{name: value for name, value in QUICK.items() if name in known})


def flashes(*brightness: float) -> np.ndarray:
    """(T, K, J, I): the same texture, as bright as this."""
    return np.float32(brightness)[:, None, None, None] * smooth(1, *SHAPE) / 5


def test_all_that_the_task_offers_are_tried():
    assert {"motion", "learned-motion", "latent-diffusion", "linear", "fourier", "demons"} <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_single_frame_has_no_time_between(key):
    with pytest.raises(STEnhanceError, match="1 frame; expected at least 2"):
        quickly(sequence_of(smooth(1, *SHAPE), periodic=True), key)


@pytest.mark.parametrize(
    ("key", "periodic"), [*((key, False) for key in WITHOUT_CYCLE), *((key, True) for key in KEYS)]
)
def test_two_frames_suffice_and_stay_bit_for_bit(key, periodic):
    sequence = sequence_of(smooth(2, *SHAPE), periodic=periodic)
    found = quickly(sequence, key, factor=3)
    assert len(found) == (6 if periodic else 4)
    assert np.array_equal(found.frames[::3], sequence.frames)
    assert np.isfinite(found.frames).all()


@pytest.mark.parametrize("key", WITHOUT_CYCLE)
def test_a_quarter_of_the_way_is_three_quarters_like_the_first_frame(key):
    sequence = sequence_of(flashes(10, 30))
    found = quickly(sequence, key, times_ms="10").frames[0]
    # Networks without training and motion where there is none change it by a tenth; swapped, it would be 25.
    assert found.mean() == pytest.approx(15 / 10 * sequence.frames[0].mean(), rel=0.1)


@pytest.mark.parametrize("key", KEYS)
def test_where_a_cycle_closes_the_last_frame_comes_before_the_first(key):
    uneven = replace(sequence_of(flashes(10, 20, 30), periodic=True), times_ms=[0.0, 40.0, 100.0])
    assert uneven.grid.period_ms == 150
    found = quickly(uneven, key, times_ms="106,144").frames.mean((1, 2, 3))
    first, _, last = uneven.frames.mean((1, 2, 3))
    assert abs(found[0] - last) < 0.3 * (last - first)
    assert abs(found[1] - first) < 0.3 * (last - first)


@pytest.mark.parametrize("key", KEYS)
def test_what_is_taken_for_a_cycle_and_does_not_close_is_noted(key, beating_disc):
    said = "if this is not one full cycle, mark it as not periodic"
    half = beating_disc.with_frames(range(5))  # from the largest disc to the smallest
    assert any(said in note for note in quickly(half, key).notes)
    assert not any(said in note for note in quickly(beating_disc, key).notes)
    if key in WITHOUT_CYCLE:
        assert not any(said in note for note in quickly(replace(half, periodic=False), key).notes)


@pytest.mark.parametrize("key", KEYS)
def test_frames_without_any_structure_are_taken(key):
    for brightness in (0, 7):
        flat = sequence_of(np.full((3, *SHAPE), brightness, np.float32), periodic=True)
        found = quickly(flat, key).frames
        assert np.isfinite(found).all()
        assert np.array_equal(found[::2], flat.frames)
        if not find_method(key).generative:
            assert np.allclose(found, brightness, atol=1e-3)


@pytest.mark.parametrize("key", ["motion", "learned-motion", "tssc-net", "latent-diffusion"])
def test_magnitudes_stay_magnitudes(key):
    sequence = sequence_of(flashes(10, 30, 20) * (np.arange(SHAPE[2]) > 9).astype(np.float32), periodic=True)
    assert sequence.frames.min() == 0
    assert quickly(sequence, key, factor=3).frames.min() == 0


@pytest.mark.parametrize("key", KEYS)
def test_complex_images_are_interpolated_by_their_magnitude_and_say_so(key):
    sequence = sequence_of(smooth(3, *SHAPE), periodic=True)
    turned = replace(sequence, frames=sequence.frames * np.complex64(1j))
    found = quickly(turned, key)
    assert np.allclose(found.frames, quickly(sequence, key).frames, rtol=1e-3)
    assert any("complex" in note for note in found.notes)
