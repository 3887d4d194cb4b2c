"""Maps that a method yields beside its frames: out of the worker, into the scene, and out of it again."""

from __future__ import annotations

import dataclasses
import gc
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yielding_maps
from yielding_maps import ERROR, METHOD, MOTION, SPREAD, maps_of, motion_of, moved, spread_of

from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import FrameReady, Planned, Worker
from STEnhanceLib.methods import SideMap, find_method, parse_parameters, run
from STEnhanceLib.phantoms.thorax import Thorax


@pytest.fixture(scope="module")
def warm_worker():
    with Worker(script=(yielding_maps.__file__,)) as warm:
        yield warm


@pytest.fixture
def input_node(mrml_scene, beating_disc):
    from STEnhanceLib.scene import add_sequence

    return add_sequence(beating_disc)


def enhanced(warm_worker, node, **settings):
    from STEnhanceLib.enhancing import SceneRun

    made = SceneRun(warm_worker, node, METHOD.key, settings, name="result")
    made.wait()
    return made.publication


def everything_in(scene) -> str:
    """All nodes as they would be saved; a browser keeps settings of a sequence that was removed from it."""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    return " ".join(re.sub(r'SynchronizationPropertiesMap[1-9]\d*="[^"]*"', "", scene.GetSceneXMLString()).split())


def voxels_of(volume) -> np.ndarray:
    import slicer

    return slicer.util.arrayFromVolume(volume)


def files_of(warm_worker) -> list[Path]:
    gc.collect()
    return list(warm_worker._folder.iterdir())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "frame 3 with these maps: left-out-error, motion; expected: left-out-error, motion, spread"),
        ("unannounced", "with these maps: left-out-error, motion, spread, surprise; expected"),
        ("flat", r"'motion' of frame 3 with shape \(3, 40, 48\) of float32 .*; expected finite \(3, 3, 40, 48\)"),
        ("infinite", "'spread' of frame 3 .* or with NaN voxels"),
        ("double", "'spread' of frame 3 with shape .* of float64"),
        ("twice", "spread, left-out-error, motion, spread; expected each of them once"),
    ],
)
def test_a_method_that_yields_other_maps_than_it_announced_is_told(beating_disc, fault, said):
    with pytest.raises(STEnhanceError, match=said):
        run.enhance_all(METHOD, beating_disc, parse_parameters(METHOD, {"fault": fault}))


def test_a_key_that_no_file_could_bear_is_refused():
    with pytest.raises(STEnhanceError, match="'a/b'; expected lower-case letters"):
        SideMap("a/b", "anything")


def test_maps_arrive_voxel_by_voxel_and_their_files_go_with_the_job(warm_worker, beating_disc):
    job = warm_worker.submit(METHOD.key, {}, beating_disc)
    events = list(job)
    planned = next(event for event in events if isinstance(event, Planned))
    assert planned.maps == (SPREAD, ERROR, MOTION)
    frames = [event for event in events if isinstance(event, FrameReady)]
    assert len(frames) == len(beating_disc)
    for frame, source in zip(frames, beating_disc.frames, strict=True):
        expected = maps_of(source, frame.index)
        assert frame.maps.keys() == expected.keys()
        assert all(np.array_equal(frame.maps[key], values) for key, values in expected.items())
        assert not frame.maps["motion"].flags.writeable
    assert len([path for path in files_of(warm_worker) if path.name.startswith("map-")]) == 3
    del job, events, frames, frame
    assert files_of(warm_worker) == []


@pytest.mark.parametrize("fault", ["refuse", "missing"])
def test_a_job_that_fails_leaves_no_files_of_maps(warm_worker, beating_disc, fault):
    job = warm_worker.submit(METHOD.key, {"fault": fault}, beating_disc)
    with pytest.raises(STEnhanceError):
        job.result()
    assert files_of(warm_worker) == []


def test_every_map_is_a_sequence_in_the_browser_of_the_result(warm_worker, input_node, beating_disc):
    from STEnhanceLib.node_times import index_values
    from STEnhanceLib.scene import find_sequence, read_sequence

    publication = enhanced(warm_worker, input_node)
    assert [node.GetName() for node in publication.maps] == [
        "result (spread of the samples)", "result (error where left out)", "result (motion since the first frame)"
    ]  # fmt: skip
    for node in publication.maps:
        assert find_sequence(node)[1] is publication.browser
        assert index_values(node) == index_values(publication.sequence)
        assert node.GetIndexUnit() == "ms"
        assert node.GetAttribute("STEnhance.Method") == METHOD.key
        assert node.GetAttribute("STEnhance.MapOf") == "result"
    units = [node.GetAttribute("STEnhance.MapUnit") for node in publication.maps]
    assert units == ["intensity of the images", "%", "mm"]
    back = read_sequence(publication.maps[0])
    assert np.array_equal(back.frames, [spread_of(frame, n) for n, frame in enumerate(beating_disc.frames)])
    assert np.abs(back.ijk_to_ras - beating_disc.ijk_to_ras).max() <= 1e-9
    assert np.array_equal(back.times_ms, beating_disc.times_ms)
    assert back.periodic
    assert publication.browser.GetMasterSequenceNode() is input_node


def test_browsing_shows_the_map_of_each_moment(warm_worker, input_node, beating_disc):
    publication = enhanced(warm_worker, input_node)
    browser = publication.browser
    spread, _, motion = (browser.GetProxyNode(node) for node in publication.maps)
    for item in (0, 3, 7):
        browser.SetSelectedItemNumber(item)
        frame = beating_disc.frames[item]
        assert np.array_equal(voxels_of(spread), spread_of(frame, item))
        found, expected = moved(motion, beating_disc, (30, 20, 1)), motion_of(frame, item)[:, 1, 20, 30]
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("turn", [np.diag([-1.0, -1, 1, 1]), np.diag([1.0, 1, -1, 1])])
def test_a_grid_transform_moves_points_by_the_displacement_however_the_voxels_lie(mrml_scene, beating_disc, turn):
    """Between voxels, too; the second matrix is left-handed."""
    from STEnhanceLib.publication import Publication
    from STEnhanceLib.scene import add_sequence

    turned = dataclasses.replace(beating_disc, ijk_to_ras=turn @ beating_disc.ijk_to_ras)
    publication = Publication(add_sequence(turned), turned.grid, "result", maps=[MOTION])
    field = motion_of(turned.frames[0], 5)
    publication.add_frame(turned.frames[0], maps={"motion": field})
    node = publication.maps[0].GetNthDataNode(0)
    assert np.abs(moved(node, turned, (47, 39, 2)) - field[:, 2, 39, 47]).max() < 1e-4
    between = field[:, 0, 10, 11:13].mean(axis=1)
    assert np.abs(moved(node, turned, (11.5, 10, 0)) - between).max() < 1e-4


def test_maps_bring_their_own_colours_and_window_and_no_view_shows_them(warm_worker, input_node, beating_disc):
    import slicer

    from STEnhanceLib.comparison import open_views
    from STEnhanceLib.scene import find_sequence

    open_views(slicer.app, [input_node, input_node])
    before = [node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    publication = enhanced(warm_worker, input_node)
    shown = [node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    assert shown == before
    proxy = publication.browser.GetProxyNode(publication.maps[0])
    display = proxy.GetDisplayNode()
    assert display is not publication.proxy.GetDisplayNode()
    assert display.GetColorNode().GetName() == "Iron"
    # The first frame of the spread is zero, so the second gives the window; later and larger ones leave it.
    expected = np.percentile(spread_of(beating_disc.frames[1], 1), 99)
    assert [display.GetWindowLevelMin(), display.GetWindowLevelMax()] == pytest.approx([0, expected], rel=1e-5)
    assert not display.GetAutoWindowLevel()
    assert find_sequence(proxy)[0] is publication.maps[0]


def test_maps_lie_under_the_transform_of_the_input(warm_worker, input_node):
    from STEnhanceLib.scene import find_sequence

    scene = input_node.GetScene()
    moved_by = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    find_sequence(input_node)[1].GetProxyNode(input_node).SetAndObserveTransformNodeID(moved_by.GetID())
    publication = enhanced(warm_worker, input_node)
    for node in publication.maps:
        assert publication.browser.GetProxyNode(node).GetTransformNodeID() == moved_by.GetID()


def test_a_result_taken_back_takes_its_maps_along(warm_worker, input_node):
    before = everything_in(input_node.GetScene())
    publication = enhanced(warm_worker, input_node)
    assert len(publication.maps) == 3
    publication.cancel()
    assert everything_in(input_node.GetScene()) == before
    assert publication.maps == []
    assert files_of(warm_worker) == []


@pytest.mark.parametrize("keep", [False, True])
def test_giving_up_takes_the_maps_back_or_keeps_as_many_as_frames(warm_worker, input_node, gate, keep):
    from STEnhanceLib.enhancing import SceneRun

    before = everything_in(input_node.GetScene())
    made = SceneRun(warm_worker, input_node, METHOD.key, {"until": str(gate)}, name="result")
    while made.finished_frames < 2:
        made.poll()
    made.cancel(keep_partial=keep)
    while not made.done:
        made.poll()
    assert made.finished_frames == (2 if keep else 0)
    if not keep:
        assert everything_in(input_node.GetScene()) == before
        return
    for node in (made.result, *made.publication.maps):
        assert node.GetNumberOfDataNodes() == made.finished_frames
        assert node.GetAttribute("STEnhance.Partial") == f"{made.finished_frames} of 8 frames"


def test_a_map_that_the_user_removes_stays_away_and_the_result_goes_on(warm_worker, input_node, gate):
    from STEnhanceLib.enhancing import SceneRun

    made = SceneRun(warm_worker, input_node, METHOD.key, {"until": str(gate)}, name="result")
    while made.finished_frames < 2:
        made.poll()
    spread = made.publication.maps[0]
    spread.GetScene().RemoveNode(spread)
    gate.touch()
    result = made.wait()
    assert spread.GetScene() is None
    assert [node.GetNumberOfDataNodes() for node in (result, *made.publication.maps)] == [8, 8, 8]


@pytest.mark.skipif(not find_spec("torchkbnufft"), reason="torchkbnufft is not installed")
@pytest.mark.usefixtures("one_thread")
def test_the_map_of_support_that_the_user_asks_for_is_in_the_scene_and_nowhere_twice(warm_worker, mrml_scene, tmp_path):
    from STEnhanceLib.enhancing import SceneRun
    from STEnhanceLib.scene import add_sequence, read_sequence

    measured = simulate(Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=1), "c8")
    measured.kspace.save(tmp_path / "kspace.npz")
    settings = {"iterations": 3, "support": True}
    method = find_method("temporal-tv")
    started = run.enhance(method, measured.sequence, parse_parameters(method, settings), kspace=measured.kspace)
    expected = np.stack([frame.unsupported for frame in started.frames])
    made = SceneRun(
        warm_worker, add_sequence(measured.sequence), method.key, settings, name="result",
        kspace_path=tmp_path / "kspace.npz",
    )  # fmt: skip
    while made.finished_frames < 1:
        made.poll()
    assert [path.name for path in files_of(warm_worker) if path.name.startswith("unsupported")] == []
    made.wait()
    (node,) = made.publication.maps
    assert node.GetName() == "result (not supported by the measurement)"
    assert node.GetAttribute("STEnhance.MapUnit") == "fraction"
    assert np.allclose(read_sequence(node).frames, expected, atol=1e-5)
    shares = [float(made.result.GetNthDataNode(n).GetAttribute("STEnhance.Unsupported")) for n in range(4)]
    assert shares == pytest.approx(expected.mean(axis=(1, 2, 3)), rel=1e-3)
    assert run.enhance(method, measured.sequence, method.parameters(), kspace=measured.kspace).maps == ()
