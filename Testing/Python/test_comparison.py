"""Input and result side by side: in the views, in the scene file, in the picture."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.comparison import (
    arrange,
    compared_scene,
    pane_pixels,
    publish_difference,
    render_comparison,
    save_comparison,
)
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence, find_sequence, load_scene, read_sequence
from STEnhanceLib.sequence import ImageSequence


@pytest.fixture
def coarse(beating_disc) -> ImageSequence:
    """Every second frame and every second sample in plane, whose first samples coincide."""
    grid = beating_disc.grid.resampled((3, 20, 24))
    frames = beating_disc.frames[::2, :, ::2, ::2]
    return ImageSequence(frames, grid.ijk_to_ras, beating_disc.times_ms[::2], True, "coarse")


def composite_of(scene, view):
    composites = (scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode") for n in range(10))
    return next(node for node in composites if node.GetLayoutName() == view)


def slice_to_ras(view) -> np.ndarray:
    import slicer

    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())


@pytest.mark.usefixtures("mrml_scene")
def test_the_views_show_the_acquired_slices_in_one_place_and_scale(coarse, beating_disc):
    host, nodes = compared_scene(coarse, beating_disc)
    left, right = arrange(nodes, host.applicationLogic())
    assert (left.GetName(), right.GetName()) == ("Red", "Yellow")
    assert np.allclose(slice_to_ras(left), slice_to_ras(right), rtol=0, atol=1e-6)
    assert left.GetFieldOfView() == pytest.approx(right.GetFieldOfView())
    normal = coarse.ijk_to_ras[:3, 2] / coarse.grid.spacing_mm[2]
    assert abs(slice_to_ras(left)[:3, 2] @ normal) == pytest.approx(1)
    # the view goes through the centres of a slice, not between two
    from_first = (slice_to_ras(left)[:3, 3] - coarse.ijk_to_ras[:3, 3]) @ normal / coarse.grid.spacing_mm[2]
    assert from_first == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("mrml_scene")
def test_what_is_at_one_place_in_the_patient_is_at_one_place_in_both_views(coarse, beating_disc):
    host, nodes = compared_scene(coarse, beating_disc)
    left, right = (
        pane_pixels(view, host.applicationLogic())[..., 0] for view in arrange(nodes, host.applicationLogic())
    )

    def centre(image):
        bright = image > 128
        return np.array([np.average(axis[bright]) for axis in np.indices(image.shape)])

    pixels_per_voxel = 640 / 48
    assert np.abs(centre(left) - centre(right)).max() < 0.25 * pixels_per_voxel


@pytest.mark.usefixtures("mrml_scene")
@pytest.mark.parametrize("directions", list(itertools.permutations(range(3))))
def test_patients_lie_in_the_views_as_radiologists_expect(beating_disc, directions):
    """In axial views anterior is up and the patient's right on the left; feet are never up."""
    for signs in itertools.product((1, -1), repeat=3):
        matrix = np.eye(4)
        matrix[:3, :3] = np.eye(3)[:, directions] * signs
        host, nodes = compared_scene(replace(beating_disc, ijk_to_ras=matrix), replace(beating_disc, ijk_to_ras=matrix))
        right, up, normal = slice_to_ras(arrange(nodes, host.applicationLogic())[0])[:3, :3].round(6).T
        assert np.array_equal(np.abs(normal), np.eye(3)[directions[2]])
        expected = {0: ((0, -1, 0), (0, 0, 1)), 1: ((-1, 0, 0), (0, 0, 1)), 2: ((-1, 0, 0), (0, 1, 0))}
        assert (tuple(right), tuple(up)) == expected[directions[2]]


def test_linked_views_keep_their_own_sequence_while_playing(mrml_scene, coarse, beating_disc):
    node = add_sequence(coarse)
    publication = Publication(node, beating_disc.grid, "result")
    for frame in beating_disc.frames:
        publication.add_frame(frame)
    publication.finish()
    arrange([node, publication.proxy])  # a sequence or the volume that shows it
    browser = publication.browser
    for _ in range(2 * len(beating_disc)):
        browser.SelectNextItem()
        assert composite_of(mrml_scene, "Red").GetBackgroundVolumeID() == browser.GetProxyNode(node).GetID()
        assert composite_of(mrml_scene, "Yellow").GetBackgroundVolumeID() == publication.proxy.GetID()


@pytest.mark.usefixtures("mrml_scene")
def test_frames_made_anew_at_measured_moments_are_generated_there_too(beating_disc):
    shares = {"STEnhance.UnsupportedPerFrame": "0 1 1 1 0.5 nan 1 1", "STEnhance.GeneratedFrames": "5 of 8"}
    _host, (_, result) = compared_scene(beating_disc, replace(beating_disc, attributes=shares))
    generated = [result.GetNthDataNode(n).GetAttribute("STEnhance.Generated") for n in range(8)]
    assert generated == ["no", "yes", "yes", "yes", "no", "no", "yes", "yes"]
    assert result.GetAttribute("STEnhance.GeneratedFrames") == "5 of 8"


@pytest.mark.usefixtures("mrml_scene")
def test_a_saved_comparison_opens_with_input_left_and_result_right(coarse, beating_disc, tmp_path):
    from STEnhanceLib import headless

    path = save_comparison(tmp_path / "comparison.mrb", coarse, replace(beating_disc, name="fine"))
    host = headless.new_host()
    load_scene(path, host.scene)
    scene = host.scene
    shown = {name: scene.GetFirstNodeByName(name) for name in ("coarse", "fine")}
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    assert browser.GetMasterSequenceNode() is shown["fine"]
    assert browser.GetSelectedItemNumber() == 0
    assert np.array_equal(read_sequence(shown["coarse"]).frames, coarse.frames)
    assert np.array_equal(read_sequence(shown["fine"]).frames, beating_disc.frames)
    proxies = [browser.GetProxyNode(node) for node in shown.values()]
    assert proxies[0].GetDisplayNode() is proxies[1].GetDisplayNode()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == 29  # side by side: Red | Yellow
    for view, proxy in zip(("Red", "Yellow"), proxies, strict=True):
        composite = composite_of(scene, view)
        assert composite.GetBackgroundVolumeID() == proxy.GetID()
        assert composite.GetLinkedControl()
    for view in (scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in ("Red", "Yellow")):
        assert abs(slice_to_ras(view)[:3, 2] @ coarse.ijk_to_ras[:3, 2]) == pytest.approx(
            8, rel=1e-4
        )  # along the slice normal
        assert 0.7 * view.GetFieldOfView()[1] > 48 * 1.25  # even an upright pane shows the whole width
    for item in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(item)
    assert shown["coarse"].GetNumberOfDataNodes() == len(coarse)


@pytest.mark.parametrize(("frame_ms", "per_second"), [(50.0, 20.0), (12.5, 30.0), (2000.0, 1.0)])
def test_a_saved_comparison_plays_as_fast_as_the_heart_as_far_as_a_screen_can(
    mrml_scene, beating_disc, tmp_path, frame_ms, per_second
):
    result = replace(beating_disc, times_ms=frame_ms * np.arange(8), name="result")
    load_scene(save_comparison(tmp_path / "saved.mrb", result.with_frames(range(0, 8, 2)), result), mrml_scene)
    browser = mrml_scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    assert browser.GetPlaybackRateFps() == per_second


@pytest.mark.usefixtures("mrml_scene")
def test_four_panes_hold_reference_and_difference_and_survive_saving(coarse, beating_disc, tmp_path):
    from STEnhanceLib import headless

    brighter = replace(beating_disc, frames=beating_disc.frames + np.float32(5))
    path = save_comparison(tmp_path / "four.mrb", coarse, brighter, replace(beating_disc, name="truth"))
    host = headless.new_host()
    load_scene(path, host.scene)
    scene = host.scene
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    names = {}
    for view in ("Red", "Slice4", "Green", "Yellow"):
        volume = scene.GetNodeByID(composite_of(scene, view).GetBackgroundVolumeID())
        names[view] = browser.GetSequenceNode(volume).GetName()
    assert names == {"Red": "coarse", "Slice4": "beating disc", "Green": "truth", "Yellow": "Difference"}
    difference = scene.GetFirstNodeByName("Difference")
    assert np.allclose(read_sequence(difference).frames, 5, atol=1e-4)


def test_a_difference_is_signed_and_coloured(mrml_scene, beating_disc):
    reference = add_sequence(beating_disc)
    changed = beating_disc.frames.copy()
    changed[:, :, :, :24] += 20
    changed[:, :, :, 24:] -= 20
    result = add_sequence(replace(beating_disc, frames=changed, name="result"))
    difference = publish_difference(result, reference)
    assert np.allclose(read_sequence(difference.sequence).frames, changed - beating_disc.frames)
    assert difference.sequence.GetName() == "result − beating disc"
    display = difference.proxy.GetDisplayNode()
    assert display.GetLevel() == 0
    assert display.GetWindow() == pytest.approx(40, abs=0.01)
    assert display is not find_sequence(result)[1].GetProxyNode(result).GetDisplayNode()
    import slicer

    red, _ = arrange([difference.sequence, result])
    pixels = pane_pixels(red, slicer.app.applicationLogic())
    brighter, darker = pixels[..., 0] > 150, pixels[..., 2] > 150
    assert np.count_nonzero(brighter & ~darker) == pytest.approx(np.count_nonzero(darker & ~brighter), rel=0.1)
    difference.cancel()
    assert mrml_scene.GetFirstNodeByName("result − beating disc") is None


def test_a_difference_is_taken_only_at_moments_that_both_have(mrml_scene, beating_disc):
    result = add_sequence(
        replace(beating_disc, frames=beating_disc.frames + np.arange(8, dtype=np.float32)[:, None, None, None])
    )
    reference = add_sequence(beating_disc.with_frames(range(0, 8, 2)))
    difference = publish_difference(result, reference)
    kept = read_sequence(difference.sequence)
    assert np.array_equal(kept.times_ms, (0, 100, 200, 300))
    assert np.allclose(kept.frames[:, 0, 0, 0], (0, 2, 4, 6), atol=1e-4)
    assert find_sequence(result)[1].GetMasterSequenceNode() is result


def test_differences_need_one_grid_and_a_common_moment(mrml_scene, coarse, beating_disc):
    disc = add_sequence(beating_disc)
    with pytest.raises(STEnhanceError, match="expected one voxel grid"):
        publish_difference(disc, add_sequence(coarse))
    with pytest.raises(STEnhanceError, match="no moment in common"):
        publish_difference(disc, add_sequence(replace(beating_disc, times_ms=beating_disc.times_ms + 10)))


def test_too_few_panes_and_sequences_without_a_browser_are_refused(mrml_scene, beating_disc):
    node = add_sequence(beating_disc)
    with pytest.raises(STEnhanceError, match="expected two to four"):
        arrange([node])
    mrml_scene.RemoveNode(find_sequence(node)[1])
    with pytest.raises(STEnhanceError, match="No browser shows"):
        arrange([node, node])


def test_the_picture_of_a_real_cine_shows_before_and_after(stenhance_data, tmp_path):
    """The whole line on real data: without a window, and without any OpenGL library being loaded."""
    script = """
import sys, numpy as np, SimpleITK as sitk
from STEnhanceLib.comparison import arrange, compared_scene, pane_pixels, render_comparison
from STEnhanceLib.sequence import ImageSequence
voxels = sitk.GetArrayFromImage(sitk.ReadImage(sys.argv[1]))[:2].astype(np.float32)
fine = ImageSequence(voxels, np.diag([1.3, 1.3, 8, 1]), np.arange(2) * 40.0, name="fine")
low = voxels.reshape(2, len(voxels[0]), 64, 4, 64, 4).mean((3, 5))
coarse = ImageSequence(low, fine.grid.resampled(low.shape[1:], (1.5, 1.5, 0)).ijk_to_ras, fine.times_ms, name="coarse")
host, nodes = compared_scene(coarse, fine, pane_size=(640, 640))
panes = arrange(nodes, host.applicationLogic())
render_comparison(sys.argv[2], dict(zip(("Before", "After"), panes)), host.applicationLogic())
loaded = open("/proc/self/maps").read()
print([name for name in ("libGL.so", "libEGL.so", "libOSMesa") if name in loaded])
"""
    picture = tmp_path / "before and after.png"
    source = stenhance_data / "cine" / "scd0000301_sax.nii.gz"
    done = subprocess.run(
        [sys.executable, "-c", script, source, picture], capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    from matplotlib.image import imread

    pixels = imread(picture)[36:, :, 0]
    before, after = pixels[:, :640], pixels[:, 648:]
    assert before.shape == after.shape == (640, 640)
    assert min(before.max(), after.max()) > 0.9  # the window fits the image
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95  # the same anatomy at the same place
    detail = [np.abs(np.diff(image, axis=1)).mean() for image in (before, after)]
    assert detail[1] > 1.3 * detail[0]


def test_pictures_are_the_same_from_run_to_run(mrml_scene, beating_disc, tmp_path):
    pictures = []
    for name in ("a.png", "b.png"):
        host, nodes = compared_scene(beating_disc, beating_disc)
        panes = arrange(nodes, host.applicationLogic())
        render_comparison(tmp_path / name, dict(zip(("Before", "After"), panes, strict=True)), host.applicationLogic())
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
