"""How the report brings sequences of other grids and times together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.evaluation.alignment import common_times, field_of_view, frames_at, held_frames, interpolated
from STEnhanceLib.sequence import Grid, ImageSequence


def test_a_coarse_image_lies_where_its_voxels_are(beating_disc):
    """Its first voxel is twice as large and has the same centre, so it starts half a fine voxel outside."""
    coarse = beating_disc.grid.resampled((3, 20, 24))
    assert field_of_view(coarse, beating_disc.grid) == pytest.approx((-0.5, -0.5, 48, 40))
    assert field_of_view(beating_disc.grid, beating_disc.grid) == pytest.approx((0, 0, 48, 40))


def test_linear_interpolation_is_exact_on_a_ramp_in_space_and_time(oblique_matrix):
    grid = Grid((3, 8, 8), oblique_matrix, np.array([0.0, 40, 100]))

    def ramp(grid):
        k, j, i = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
        to_fine = np.linalg.inv(oblique_matrix) @ grid.ijk_to_ras
        x, y, z = (to_fine[a, 0] * i + to_fine[a, 1] * j + to_fine[a, 2] * k + to_fine[a, 3] for a in range(3))
        return np.stack([100 + 2 * x - 3 * y + 5 * z + 0.1 * t for t in grid.times_ms])

    coarse = ImageSequence.from_frames(ramp(grid), grid)
    fine = grid.resampled((3, 16, 16)).at_times(np.array([0.0, 10, 40, 85]))
    np.testing.assert_allclose(interpolated(coarse, fine)[:, :, :15, :15], ramp(fine)[:, :, :15, :15], rtol=1e-5)


def test_a_cycle_closes_and_other_sequences_end(beating_disc):
    later = beating_disc.grid.at_times(np.array([375.0]))
    first, last = beating_disc.frames[[0, -1]]
    np.testing.assert_allclose(interpolated(beating_disc, later)[0], (first + last) / 2, rtol=1e-5)
    np.testing.assert_allclose(interpolated(replace(beating_disc, periodic=False), later)[0], last, rtol=1e-5)


def test_times_that_differ_by_rounding_are_one_moment(beating_disc):
    grid = beating_disc.grid
    rounded = grid.at_times(grid.times_ms + 1e-4)
    assert len(common_times([grid, rounded, grid.at_times(np.array([25.0]))])) == 9
    np.testing.assert_array_equal(frames_at(rounded, np.array([0, 25, 350])), [0, -1, 7])
    np.testing.assert_array_equal(held_frames(rounded, np.array([0, 25, 49.99, 50, 999])), [0, 0, 1, 1, 7])
