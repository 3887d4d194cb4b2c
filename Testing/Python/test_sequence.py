"""`ImageSequence` and `Grid`: what they refuse, and that nobody can change them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid, ImageSequence

FRAMES = np.ones((3, 2, 4, 5), np.float32)
TIMES = np.array([0.0, 31.6, 63.2])


def sequence(frames=FRAMES, matrix=None, times=TIMES, **named) -> ImageSequence:
    return ImageSequence(frames, np.eye(4) if matrix is None else matrix, times, **named)


def with_voxel(value) -> np.ndarray:
    frames = FRAMES.copy()
    frames[1, 0, 2, 3] = value
    return frames


@pytest.mark.parametrize(
    ("given_to_it", "said"),
    [
        ({"frames": FRAMES[0]}, r"shape \(2, 4, 5\).*expected voxels as \(T, K, J, I\)"),
        ({"frames": FRAMES[None]}, r"expected voxels as \(T, K, J, I\)"),
        ({"frames": FRAMES[:0], "times": []}, "expected voxels"),
        ({"frames": FRAMES.tolist()}, "list were given"),
        ({"frames": FRAMES.astype(np.float64)}, "float64.*expected float32"),
        ({"frames": FRAMES.astype(np.int16)}, "int16.*from_frames"),
        ({"frames": with_voxel(np.nan)}, "Frame 2 of 3 has 1 voxels that are NaN"),
        ({"frames": with_voxel(-np.inf)}, "Frame 2 of 3 has 1 voxels that are NaN or infinite"),
        ({"times": TIMES[:2]}, "3 frames but 2 times"),
        ({"times": [0, 31.6, 31.6]}, "Frame 3 is at 31.6 ms, not later than frame 2"),
        ({"times": [0, 63.2, 31.6]}, "strictly increasing"),
        ({"times": [0, np.nan, 2]}, "one finite number per frame"),
        ({"times": [[0, 1, 2]]}, "one finite number per frame"),
        ({"matrix": np.eye(3)}, "expected 4×4"),
        ({"matrix": np.diag([1, 1, np.nan, 1])}, "not a finite affine matrix"),
        ({"matrix": np.diag([1, 1, 1, 2])}, "last row"),
        ({"matrix": np.diag([1, 0, 1, 1])}, "singular"),
        ({"matrix": [[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "singular"),
    ],
)
def test_each_fault_of_a_sequence_has_its_own_clear_error(given_to_it, said):
    with pytest.raises(STEnhanceError, match=said):
        sequence(**given_to_it)


@pytest.mark.parametrize("shape", [(4, 5), (0, 4, 5), (1, 2, 3, 4)])
def test_a_grid_refuses_shapes_without_voxels(shape):
    with pytest.raises(STEnhanceError, match=r"expected \(K, J, I\)"):
        Grid(shape, np.eye(4), TIMES)


def test_frames_of_different_shapes_are_named():
    frames = [np.ones((2, 4, 5)), np.ones((2, 4, 6)), np.ones((2, 4, 5))]
    with pytest.raises(STEnhanceError, match=r"2 different shapes were found \(\(2, 4, 5\), \(2, 4, 6\)\)"):
        ImageSequence.from_frames(frames, Grid((2, 4, 5), np.eye(4), TIMES))


def test_nothing_of_a_sequence_can_be_changed():
    attributes = {"key": "value"}
    made = sequence(attributes=attributes)
    attributes["key"] = "changed"
    assert made.attributes["key"] == "value"
    for array in (made.frames, made.ijk_to_ras, made.times_ms):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"
    with pytest.raises(TypeError):
        made.attributes["key"] = "other"


def test_a_sequence_holds_a_view_and_leaves_the_given_array_writable():
    frames = FRAMES.copy()
    made = sequence(frames)
    assert np.shares_memory(made.frames, frames)
    assert frames.flags.writeable


def test_later_changes_of_the_given_matrix_and_times_do_not_reach_the_sequence():
    matrix, times = np.eye(4), TIMES.copy()
    made = sequence(matrix=matrix, times=times)
    matrix[0, 3] = 99
    times[0] = -99
    assert made.ijk_to_ras[0, 3] == 0
    assert made.times_ms[0] == 0


def test_magnitude_of_complex_voxels():
    frames = FRAMES * np.complex64(3 - 4j)
    magnitude = sequence(frames).magnitude()
    assert magnitude.dtype == np.float32
    assert np.array_equal(magnitude, 5 * FRAMES)


def test_spacing_duration_and_period(beating_disc):
    assert beating_disc.grid.spacing_mm == pytest.approx((1.25, 1.5, 8.0), abs=1e-12)
    assert beating_disc.grid.frame_duration_ms == 50
    assert beating_disc.grid.period_ms == 400


def test_chosen_frames_keep_their_times(beating_disc):
    chosen = beating_disc.with_frames([1, 4, 7])
    assert chosen.times_ms.tolist() == [50, 200, 350]
    assert np.array_equal(chosen.frames, beating_disc.frames[[1, 4, 7]])
    with pytest.raises(STEnhanceError, match="strictly increasing"):
        beating_disc.with_frames([4, 1])


@given(
    shape=st.tuples(*[st.integers(1, 64)] * 3),
    finer=st.tuples(*[st.integers(1, 6)] * 3),
    first_voxel=st.tuples(*[st.floats(-2, 2)] * 3),
)
def test_a_resampled_grid_spans_the_same_field_of_view(shape, finer, first_voxel):
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.2, -0.4, 0.1], [0.3, 1.4, -0.2], [0, 0.5, 7.5]]
    matrix[:3, 3] = (-81.5, 44.25, 12.125)
    grid = Grid(shape, matrix, TIMES)
    new = grid.resampled(tuple(n * f for n, f in zip(shape, finer, strict=True)), first_voxel)
    extent = np.array(grid.spacing_mm) * grid.shape[::-1]
    assert np.array(new.spacing_mm) * new.shape[::-1] == pytest.approx(extent, rel=1e-12)
    assert new.ijk_to_ras[:3, 3] == pytest.approx((matrix @ (*first_voxel, 1))[:3], abs=1e-9)


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e6, 1e6)))
def test_times_are_taken_as_they_are_or_refused(times):
    if (np.diff(times) > 0).all():
        assert np.array_equal(Grid((1, 1, 1), np.eye(4), times).times_ms, times)
    else:
        with pytest.raises(STEnhanceError, match="strictly increasing"):
            Grid((1, 1, 1), np.eye(4), times)


def test_a_blank_of_any_size_costs_nothing_and_is_checked_all_the_same():
    size = (2, 1000, 10**6, 10**6)  # a look at each voxel of one frame would take a petabyte
    blank = ImageSequence(np.broadcast_to(np.float32(0), size), np.eye(4), np.arange(2.0))

    assert blank.frames.shape == size
    with pytest.raises(STEnhanceError, match="NaN"):
        ImageSequence(np.broadcast_to(np.float32(np.nan), (2, 1, 3, 3)), np.eye(4), np.arange(2.0))
