"""The thorax phantom: a function of position and time whose truth is known everywhere."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.phantoms.thorax import BLOOD, END_SYSTOLE, Thorax
from STEnhanceLib.sequence import Grid


def small_cine(**patient):
    return Thorax(**patient).cine(frames=6, matrix=96, slices=1)


def blood_volume_of_left_ventricle(sequence, frame, thorax):
    centre_x, centre_y = thorax.heart_centre_mm()
    k, j, i = np.indices(sequence.grid.shape)
    position = sequence.ijk_to_ras @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)])
    near = np.hypot(-position[0] - centre_x, -position[1] - centre_y) < 26
    return np.count_nonzero(sequence.frames[frame].ravel()[near] > 700)


def test_the_same_seed_is_the_same_patient_and_another_seed_is_another():
    assert np.array_equal(small_cine(seed=4).frames, small_cine(seed=4).frames)
    assert not np.array_equal(small_cine(seed=4).frames, small_cine(seed=5).frames)


def test_the_ventricle_ejects_blood_towards_end_systole_and_refills():
    thorax = Thorax(breathing_mm=0)
    grid = thorax.cine(frames=2, matrix=128, slices=1).grid
    moments = thorax.heart_period_ms * np.array([0, END_SYSTOLE, 0.999])
    beat = thorax.sample(grid.at_times(moments))
    diastole, systole, next_diastole = (blood_volume_of_left_ventricle(beat, n, thorax) for n in range(3))
    assert 0.35 < 1 - systole / diastole < 0.75  # a plausible ejection fraction
    assert abs(next_diastole / diastole - 1) < 0.02


def test_a_breath_hold_is_a_cycle_and_free_breathing_is_not():
    held, breathing = small_cine(breathing_mm=0), small_cine(breathing_mm=6)
    assert held.periodic and not breathing.periodic
    thorax = Thorax(breathing_mm=0)
    first, one_beat_later = thorax.sample(held.grid.at_times([0, thorax.heart_period_ms])).frames
    assert np.abs(first - one_beat_later).max() < 1e-2


def test_breathing_lifts_the_anterior_wall_and_leaves_the_spine():
    thorax = Thorax(breathing_mm=8)
    grid = thorax.cine(frames=2, matrix=128, slices=1).grid
    expired, inspired = thorax.sample(grid.at_times([0, thorax.breathing_period_ms / 2])).frames[:, 0]
    moved = np.abs(inspired - expired)
    assert moved[:48].max() > 300  # anterior rows
    assert moved[101:].max() < 60  # rows behind the spine


def test_a_finer_grid_samples_the_same_truth():
    thorax = Thorax()
    coarse = thorax.cine(frames=2, matrix=64, slices=1)
    fine = thorax.sample(coarse.grid.resampled((1, 128, 128)))
    assert np.allclose(fine.frames[..., ::2, ::2], coarse.frames, atol=0.5)


def test_signal_levels_are_those_declared():
    assert small_cine().frames.max() <= 1000 * BLOOD + 1e-3
    assert small_cine().frames.min() >= 0


def test_an_oblique_grid_sees_the_same_anatomy():
    thorax = Thorax()
    grid = thorax.cine(frames=1, matrix=64, slices=1).grid
    flipped = np.eye(4)
    flipped[0, 0], flipped[0, 3] = -1, 63  # i runs the other way over the same voxels
    mirrored = Grid(grid.shape, grid.ijk_to_ras @ flipped, grid.times_ms)
    assert np.allclose(thorax.sample(mirrored).frames[..., ::-1], thorax.sample(grid).frames, atol=0.5)


def test_every_voxel_of_a_tilted_grid_is_what_its_place_alone_would_show():
    thorax = Thorax(seed=2)
    tilt, turn = 0.5, 0.7
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([4.0, 4.0, 9.0])
    matrix[:3, 3] = matrix[:3, :3] @ (-30, -30, -2)
    whole = thorax.sample(Grid((5, 60, 60), matrix, [250.0])).frames[0]
    for k, j, i in np.random.default_rng(1).integers((0, 5, 5), (5, 55, 55), size=(60, 3)):
        alone = np.eye(4)
        alone[:3, 3] = i, j, k
        assert abs(thorax.sample(Grid((1, 1, 1), matrix @ alone, [250.0])).frames.item() - whole[k, j, i]) < 0.1


def test_a_place_without_anatomy_is_black():
    far_away = np.diag([1.0, 1.0, 1.0, 1.0])
    far_away[:3, 3] = 500
    assert Thorax().sample(Grid((2, 8, 8), far_away, [0.0, 30.0])).frames.max() < 1e-6
