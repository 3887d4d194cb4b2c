"""The phantoms of large motion, a bending knee and a deep breath: images whose motion is known, for the benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from STEnhanceLib import cli
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import benchmark, metrics
from STEnhanceLib.evaluation.phantom_cases import all_cases, phantom_cases
from STEnhanceLib.evaluation.protocols import find_protocol
from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import LARGEST_FLEXION, Knee
from STEnhanceLib.sequence import Grid, ImageSequence

EITHER = pytest.mark.parametrize("phantom", [Knee(seed=3), Breathing(seed=3)], ids=["knee", "breathing"])


def small(phantom, **shape):
    return phantom.cine(**{"frames": 2, "matrix": 48, **shape})


def most_moved_ms(phantom):
    return phantom.duration_ms if isinstance(phantom, Knee) else phantom.period_ms / 2


def unpainted(frames, step_ms):
    """Of the times of a phantom, with noise instead of its picture."""
    noise = np.random.default_rng(0).random((frames, 1, 8, 8))
    return ImageSequence.from_frames(noise, Grid((1, 8, 8), np.eye(4), step_ms * np.arange(frames)))


def one_slice(phantom, matrix=160, times_ms=(0.0,)):
    """A grid of one slice, with points on it."""
    return small(phantom, frames=2, matrix=8).grid.resampled((1, matrix, matrix)).at_times(list(times_ms))


def points_of(grid):
    """(J, I, 3) left, back, up in mm of a single slice."""
    k, j, i = np.indices(grid.shape)
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ grid.ijk_to_ras.T
    return ras[0, ..., :3] * (-1, -1, 1)


def fetched(image, grid, points):
    """The image at points in mm, by a spline."""
    ras = np.concatenate([points * (-1, -1, 1), np.ones((*points.shape[:-1], 1))], axis=-1)
    i, j, _k, _one = np.moveaxis(ras @ np.linalg.inv(grid.ijk_to_ras).T, -1, 0)
    return map_coordinates(image, [j, i], order=3, mode="constant")


@EITHER
def test_the_same_seed_is_the_same_patient_and_another_seed_is_another(phantom):
    once = small(phantom).frames
    assert np.array_equal(once, small(phantom).frames)
    other = small(replace(phantom, seed=4)).frames
    assert np.abs(once - other).mean() > 20


@EITHER
def test_any_matrix_frames_and_slices_have_their_geometry_and_times(phantom):
    cine = phantom.cine(frames=2, matrix=40, slices=3)
    assert cine.frames.shape == (2, 3, 40, 40) and cine.frames.dtype == np.float32
    assert cine.grid.spacing_mm[2] == pytest.approx(phantom.thickness_mm)
    middle = phantom.cine(frames=2, matrix=40, slices=1)
    assert np.allclose(middle.frames[:, 0], cine.frames[:, 1], atol=0.5)
    assert not np.allclose(cine.frames[:, 0], cine.frames[:, 2], atol=20), "neighbouring slices are not copies"
    assert "seed 3" in cine.attributes["STEnhance.Phantom"]


@EITHER
def test_signal_is_that_of_a_magnitude_image_with_tissue_on_black(phantom):
    frames = phantom.cine(frames=2, matrix=96).frames
    assert frames.min() >= 0 and 800 < frames.max() < 1300
    assert (frames < 30).mean() > 0.05


def test_the_knee_bends_once_and_evenly_and_a_breath_comes_back():
    knee, breath = Knee(thickness_mm=0), Breathing(thickness_mm=0)
    bent = small(knee, frames=12, matrix=8)
    assert not bent.periodic and np.allclose(np.diff(bent.times_ms), 500)
    assert [knee.angle_deg(time) for time in bent.times_ms] == pytest.approx(list(80 * np.arange(12) / 11))
    cycle = small(breath, frames=4)
    assert cycle.periodic and cycle.grid.period_ms == breath.period_ms
    again = breath.sample(cycle.grid.at_times(cycle.times_ms + breath.period_ms))
    assert np.allclose(again.frames, cycle.frames, atol=1e-2)


@EITHER
def test_tissue_carries_its_signal_along_the_true_motion(phantom):
    """What is seen at a point is seen again where the truth says that the point has gone, and not where it was."""
    thin = replace(phantom, thickness_mm=0.0)
    end_ms = most_moved_ms(phantom)
    grid = one_slice(phantom, 256, (0.0, 0.7 * end_ms))
    before, after = thin.sample(grid).frames[:, 0]
    points = points_of(grid)[20:-20:2, 20:-20:2]
    there = thin.moved(points, 0.0, 0.7 * end_ms)
    start = fetched(before, grid, points)
    in_view = (start > 60) & (np.abs(there[..., 0] - points[..., 0]) < 1.0)
    in_view &= fetched(np.ones_like(after), grid, there) > 0.99
    assert in_view.mean() > 0.3
    followed = np.abs(fetched(after, grid, there) - start)[in_view]
    stayed = np.abs(fetched(after, grid, points) - start)[in_view]
    assert np.median(followed) < 8 < 4 * 8 < np.median(stayed)
    assert (followed < 60).mean() > 0.85, "all but edges, and what a sliding surface covers"


@EITHER
def test_motion_between_two_moments_can_be_taken_back_and_composed(phantom):
    random = np.random.default_rng(5)
    start = random.uniform((-30, -60, -60), (30, 60, 60), (300, 3))
    end_ms = most_moved_ms(phantom)
    half, whole = (phantom.moved(start, 0.0, time) for time in (0.4 * end_ms, end_ms))
    on = phantom.moved(half, 0.4 * end_ms, end_ms)
    back = phantom.moved(whole, end_ms, 0.0)
    # Points that a bone has come to lie over cannot be told from it.
    assert np.mean(np.linalg.norm(on - whole, axis=-1) < 1e-3) > 0.9
    assert np.mean(np.linalg.norm(back - start, axis=-1) < 1e-3) > 0.9
    assert np.allclose(phantom.moved(start, end_ms, end_ms), start, atol=1e-3)


@EITHER
def test_the_displacement_of_every_voxel_is_in_mm_along_the_axes_of_the_patient(phantom):
    grid = small(phantom, matrix=24, slices=2).grid
    end_ms = most_moved_ms(phantom)
    field = phantom.displacement(grid, 0.0, end_ms)
    assert field.shape == (3, 2, 24, 24)
    k, j, i = 1, 12, 9
    right, anterior, superior = grid.ijk_to_ras[:3] @ (i, j, k, 1)
    left, back, up = phantom.moved(np.array([-right, -anterior, superior]), 0.0, end_ms)
    assert np.allclose(field[:, k, j, i], (-left - right, -back - anterior, up - superior), atol=1e-3)


def test_bones_are_rigid_and_move_as_they_do_in_a_knee():
    knee = Knee()
    bones = knee.bones(knee.duration_ms)
    for transform in bones.values():
        assert np.allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3)) and np.linalg.det(transform) > 0
    assert np.allclose(bones["femur"], np.eye(4))
    foot = bones["tibia"] @ (0, 0, -100, 1)
    assert foot[1] == pytest.approx(100 * np.sin(np.radians(80)))  # to the back
    assert foot[2] == pytest.approx(-100 * np.cos(np.radians(80)))
    centre = np.array([0.0, -51, 4, 1])
    moved = bones["patella"] @ centre
    assert moved[2] < -30, "the patella glides down along the trochlea"
    assert 40 < np.hypot(*moved[1:3]) < 52, "and stays in front of the femur"
    inside = np.array([[5.0, 0, -80], [12, 0, -60]])  # of the tibia
    assert np.allclose(knee.moved(inside, 0, knee.duration_ms), inside @ bones["tibia"][:3, :3].T, atol=1e-6)
    distances = [np.linalg.norm(np.diff(knee.moved(inside, 0, time), axis=0)) for time in (0, 2000, 5500)]
    assert distances == pytest.approx([distances[0]] * 3)


def test_soft_tissue_of_the_knee_is_stretched_and_folded_but_never_turned_inside_out():
    for flexion in (80.0, LARGEST_FLEXION):
        knee = Knee(flexion_deg=flexion)
        grid = one_slice(knee, 64)
        points = points_of(grid)
        there = knee._soft_to(points, knee.duration_ms)[..., 1:]
        along_j, along_i = np.diff(there, axis=0)[:, :-1], np.diff(there, axis=1)[:-1]
        area = along_i[..., 0] * along_j[..., 1] - along_i[..., 1] * along_j[..., 0]
        share = area / (-((240 / 64) ** 2))
        away = np.hypot(*np.moveaxis(points[:-1, :-1, 1:], -1, 0)) > 12  # the axis itself is inside the femur
        assert share[away].min() > 0.1 and 1.2 < share[away].max() < 3


def test_the_diaphragm_goes_down_by_the_depth_of_the_breath():
    breath = Breathing(depth_mm=30)
    start = np.array([[-65.0, 0, 0], [-65, 0, 160], [-135, 0, 0], [0, 0, -330]])
    dome, apex, wall, pelvis = breath.moved(start, 0, breath.period_ms / 2) - start
    assert dome[2] == pytest.approx(-30, abs=0.3)
    assert abs(apex[2]) < 2 and wall[2] == 0 and abs(pelvis[2]) < 2
    assert wall[0] == pytest.approx(-3.4, abs=0.3), "the wall widens"


def test_organs_slide_along_the_wall_unless_they_stick():
    def jump(breath):
        """How differently two neighbours on either side of the pleura move along it at most, in mm."""
        across = np.stack([np.arange(-150, -90, 0.25), np.zeros(240), np.zeros(240)], axis=-1)
        steps = np.abs(np.diff(breath.moved(across, 0, breath.period_ms / 2) - across, axis=0))
        assert steps[:, 0].max() < 1.5, "no gap opens"
        return steps[:, 2].max()

    assert jump(Breathing()) > 20
    assert jump(Breathing(sliding=False)) < 0.5
    start = points_of(one_slice(Breathing(), 64))
    for breath in (Breathing(sliding=False), Breathing(depth_mm=60, sliding=False)):
        up = breath.moved(start, 0, breath.period_ms / 2)[..., 2]
        assert (np.diff(up, axis=0) < 0).all(), "nothing folds"


@EITHER
def test_a_slice_is_the_mean_over_its_thickness(phantom):
    grid = one_slice(phantom, 48)
    thin = replace(phantom, thickness_mm=0.0)
    layers = []
    for share in (-1 / 3, 0, 1 / 3):
        shift = np.eye(4)
        shift[2, 3] = share * phantom.thickness_mm / grid.spacing_mm[2]
        layers.append(thin.sample(Grid(grid.shape, grid.ijk_to_ras @ shift, grid.times_ms)).frames)
    assert np.allclose(phantom.sample(grid).frames, np.mean(layers, axis=0), atol=0.1)
    assert np.abs(layers[0] - layers[2]).max() > 30


def test_impossible_motion_is_refused_in_a_sentence():
    with pytest.raises(STEnhanceError, match="flexion of 170° was asked for; expected more than 0° and at most 110°"):
        Knee(flexion_deg=170)
    with pytest.raises(STEnhanceError, match="breath of 90 mm was asked for; expected 0 to 60 mm"):
        Breathing(depth_mm=90)
    with pytest.raises(STEnhanceError, match="1 frames"):
        Knee().cine(frames=1)


def test_the_boxes_of_the_benchmark_lie_where_the_motion_is():
    for case in phantom_cases(["knee", "breathing"]):
        phantom = {"knee": Knee(100), "breathing": Breathing(100)}[case.name]
        grid = one_slice(phantom, 192)
        moved = np.linalg.norm(phantom.displacement(grid, 0, most_moved_ms(phantom))[:, 0], axis=0)
        tissue = phantom.sample(grid).frames[0, 0] > 60
        box = metrics.heart_box(case.facts["heart_centre_xy"], (1, 192, 192))
        inside = np.zeros_like(tissue)
        inside[box] = True
        assert moved[inside & tissue].mean() > 15
        assert (inside & tissue).sum() > 0.6 * inside.sum()


def test_the_knee_is_no_cycle_in_the_benchmark_and_the_breath_is_one():
    knee, breath = phantom_cases(["knee", "breathing"])
    bent, breathed = unpainted(12, 5500 / 11), unpainted(20, 250.0)
    ends = knee.spoil(find_protocol("t6"), bent, None)
    assert np.array_equal(ends.degraded.times_ms, bent.times_ms[[0, 11]]) and list(ends.scored) == list(range(1, 11))
    every_4th = knee.spoil(find_protocol("t4"), bent, None)
    assert not every_4th.degraded.periodic and len(every_4th.reference) == 9
    assert any("no cycle" in note for note in every_4th.notes) and any("joint" in note for note in every_4th.notes)
    every_4th = breath.spoil(find_protocol("t4"), breathed, None)
    assert every_4th.degraded.periodic and len(every_4th.reference) == 20 and len(every_4th.scored) == 15
    ends = breath.spoil(find_protocol("t6"), breathed, None)
    assert list(ends.degraded.times_ms) == [0, Breathing().period_ms / 2]


def test_the_command_measures_phantoms_without_a_folder(capsys, monkeypatch):
    from STEnhanceLib.evaluation import phantom_cases as cases

    knee = cases.knee()
    facts = {**knee.facts, "heart_centre_xy": (20, 21)}
    in_small = knee._replace(read=lambda: small(Knee(thickness_mm=0), frames=12), facts=facts)
    monkeypatch.setitem(cases.PHANTOMS, "knee", lambda: in_small)
    assert cli.main(["benchmark", "t6", "--phantoms", "knee", "--methods", "linear"]) == cli.DONE
    printed = capsys.readouterr().out
    assert "| knee | linear |" in printed and "The box is around the joint." in " ".join(printed.split())


def test_phantoms_come_after_the_files_and_unknown_ones_are_refused(tmp_path, capsys):
    with pytest.raises(STEnhanceError, match="no phantom 'elbow'; there are: knee, breathing"):
        phantom_cases(["elbow"])
    with pytest.raises(STEnhanceError, match="name one by --data"):
        all_cases(None, None, [])
    with pytest.raises(STEnhanceError, match="name one by --data"):
        all_cases(None, ["scd0000301_sax"], ["knee"])
    with pytest.raises(STEnhanceError, match="holds no 4D file"):
        benchmark.run(["t2"], tmp_path, phantoms=["knee"])
    assert cli.main(["benchmark", "t2"]) == cli.USER_ERROR
    assert "--phantoms" in " ".join(capsys.readouterr().err.split())
