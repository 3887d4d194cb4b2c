"""The panel of Artefact Reduction with a measurement: which methods it offers, what it previews, and how far it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from learned import DESCRIPTION
from untrained import UNTRAINED, random_network

from STEnhanceLib import models
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs import Worker
from STEnhanceLib.methods import Need, Task, all_methods, find_method, methods_for, run
from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.sequence import Grid

pytest.importorskip("torch")
pytest.importorskip("torchkbnufft")

REPOSITORY = Path(__file__).parents[2]
ON_IMAGES = "frequency-split"


@pytest.fixture(scope="module")
def measured():
    truth = dataclasses.replace(Thorax(breathing_mm=0).cine(frames=12, matrix=64, slices=3), name="Cine SAx")
    return simulate(truth, "c8")


@pytest.fixture(scope="module")
def kspace_path(measured, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("kspace") / "measured.npz"
    measured.kspace.save(path)
    return path


@pytest.fixture
def panel(host, measured):
    from STEnhanceLib import scene

    panel = host.load_module(REPOSITORY / "STEnhance" / "ArtefactReduction" / "ArtefactReduction.py").panel
    panel.parameters.inputNode = scene.add_sequence(measured.sequence)
    return panel


def offered(panel) -> list[str]:
    """Keys of what can be picked, from above."""
    box = panel.ui.methodSelector
    return [box.itemData(row) for row in range(box.count) if box.model().item(row).isEnabled()]


def text_of(panel, key: str) -> str:
    box = panel.ui.methodSelector
    return box.itemText(box.findData(key))


def needing_kspace() -> set[str]:
    return {m.key for m in methods_for(Task.ARTEFACT_REDUCTION) if Need.KSPACE in m.needs}


def test_for_images_alone_methods_on_images_are_offered_and_the_others_say_what_they_lack(panel):
    assert not needing_kspace() & set(offered(panel))
    assert panel.method.key in offered(panel)
    assert "needs the k-space file" in text_of(panel, "temporal-tv")
    assert text_of(panel, ON_IMAGES) == find_method(ON_IMAGES).title
    assert not panel.ui.kspaceSelector.isHidden(), "there is a place to choose one"
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text


def test_where_to_compute_is_asked_of_methods_that_may_take_a_network(panel):
    panel.choose(ON_IMAGES)  # which also has a denoiser without one
    assert not panel.ui.deviceSelector.isHidden() and not panel.ui.deviceLabel.isHidden()
    panel.choose("temporal-tv")
    assert not panel.ui.deviceSelector.isHidden()


def test_with_a_kspace_file_methods_on_it_come_first_and_one_is_chosen(panel, kspace_path):
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    assert needing_kspace() <= set(offered(panel)) and ON_IMAGES in offered(panel)
    uses_it = [Need.KSPACE in all_methods()[key].takes for key in offered(panel)]
    assert uses_it == sorted(uses_it, reverse=True)
    assert Need.KSPACE in panel.method.takes and panel.method.key != "gridding"
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
    assert panel.parameters.method == "", "nobody has chosen yet"
    fields = {field.name for field in dataclasses.fields(panel.method.parameters)}
    assert set(panel._form.settings()) == fields, "the form is that of the method"
    assert panel.method.summary[:20] in panel.ui.methodSummaryLabel.text
    panel.ui.kspaceSelector.currentPath = ""
    assert Need.KSPACE not in panel.method.needs, "and back"


def test_an_explicit_choice_stays_whatever_the_input(host, panel, kspace_path, measured):
    from STEnhanceLib import scene

    panel.choose(ON_IMAGES)
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    assert panel.method.key == ON_IMAGES
    panel.choose("temporal-tv")
    panel.ui.kspaceSelector.currentPath = ""
    assert panel.method.key == "temporal-tv"
    assert not panel.ui.applyButton.enabled and "choose its k-space file" in panel.ui.statusLabel.text
    panel.parameters.inputNode = scene.add_sequence(dataclasses.replace(measured.sequence, name="another"))
    assert panel.method.key == "temporal-tv"


def test_a_method_for_lines_refuses_spokes_that_are_chosen_afterwards_at_once(panel, measured, kspace_path, tmp_path):
    spokes = simulate(measured.sequence.part([0, 1], slice(0, 1)), "r13")
    spokes.kspace.save(tmp_path / "spokes.npz")
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    panel.choose("k-space-cnn")
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
    panel.ui.kspaceSelector.currentPath = str(tmp_path / "spokes.npz")
    method = panel.method
    assert method.key == "k-space-cnn", "the choice stays"
    assert not panel.ui.applyButton.enabled and not panel.ui.previewButton.enabled
    with pytest.raises(STEnhanceError) as late:
        run.enhance(method, spokes.sequence, method.parameters(), kspace=spokes.kspace)
    assert panel.ui.statusLabel.text == str(late.value)
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text


def test_the_memory_line_counts_the_map_of_what_is_not_supported(panel, kspace_path):
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    panel.choose("temporal-tv")
    one = 2 * 4 * 12 * 3 * 64 * 64  # twice 12 frames of 3 slices as float32
    assert f"about {2 * one / 1e6:.0f} MB needed" in panel.ui.memoryLabel.text
    panel._form._fields["support"].write(True)
    assert f"about {3 * one / 1e6:.0f} MB needed" in panel.ui.memoryLabel.text
    assert "with maps: not supported by the measurement" in panel.ui.memoryLabel.text


def test_a_model_of_your_own_is_taken_by_the_form_that_suits_it(panel, kspace_path, tmp_path, monkeypatch):
    """With a measurement xt-yt is another network than without."""
    pytest.importorskip("safetensors")
    network, description = random_network("xt-yt-cartesian"), {**DESCRIPTION, "task": "artefact reduction"}
    models.save(tmp_path / "mine", network, "mine", *UNTRAINED["xt-yt-cartesian"], description)
    monkeypatch.setenv(models.VARIABLE, str(tmp_path))
    panel.choose("xt-yt")
    panel._form._fields["model"].write("mine")
    assert not panel.ui.applyButton.enabled and "xt-yt-unet" in panel.ui.statusLabel.text
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text


def test_picking_what_was_suggested_is_a_choice_too(panel, kspace_path):
    suggested = panel.method.key
    panel.ui.methodSelector.activated.emit(panel.ui.methodSelector.currentIndex)
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    assert panel.method.key == suggested == panel.parameters.method


def test_the_panel_tells_slice_and_step_until_the_first_frame_comes(host, panel, kspace_path, one_step_per_poll):
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    panel.choose("temporal-tv")
    panel._form._fields["iterations"].write(70)
    panel._form._fields["tolerance"].write(0.0001)
    panel.ui.applyButton.click()
    seen, picture = [], REPOSITORY / "Testing" / "output" / "kspace_progress.png"

    def ended() -> bool:
        said = panel.ui.statusLabel.text
        if said not in seen:
            seen.append(said)
            if "Slice 2 of 3" in said and not picture_made:
                assert 33 <= panel.ui.progressBar.value <= 67 and panel.ui.progressBar.maximum == 100
                picture_made.append(host.grab(panel.widget, picture))
        return not panel.running

    picture_made = []
    host.wait_until(ended)
    assert panel.run.error is None and picture_made
    assert any("step" in text and "of at most 70" in text and "until the first frame" in text for text in seen)
    assert "Done: 12 frames" in seen[-1] or "Done: 12 frames" in panel.ui.statusLabel.text


@pytest.mark.parametrize("shown", [0, 6, 11])
def test_a_preview_from_kspace_is_the_shown_slice_of_the_shown_frame_from_nine_frames_around_it(
    host, panel, kspace_path, measured, shown
):
    import slicer

    from STEnhanceLib import scene

    _, browser = scene.find_sequence(panel.parameters.inputNode)
    browser.SetSelectedItemNumber(shown)
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    panel.choose("temporal-tv")
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    assert panel.preview.error is None
    assert "Preview of slice 2" in panel.ui.statusLabel.text, "no view shows one, so the middle"
    found = slicer.util.arrayFromVolume(panel.preview.volume)
    frames = np.arange(shown - 4, shown + 5) % 12
    part = measured.kspace.part(frames, slice(1, 2))
    method = find_method("temporal-tv")
    sequence = measured.sequence.part(frames, slice(1, 2))
    expected = run.enhance_all(method, sequence, method.parameters(), kspace=part).frames[4]
    assert found.shape == (1, 64, 64)
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
    np.testing.assert_allclose(panel.preview.volume.GetOrigin(), (measured.sequence.ijk_to_ras @ [0, 0, 1, 1])[:3])


def test_a_preview_is_of_the_slice_on_screen(host, panel, kspace_path, measured):
    import slicer

    from STEnhanceLib import scene

    node, browser = scene.find_sequence(panel.parameters.inputNode)
    slicer.util.setSliceViewerLayers(background=browser.GetProxyNode(node))
    host.show_views()
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    view.SetOrientationToAxial()
    panel.ui.kspaceSelector.currentPath = str(kspace_path)
    panel.choose("gridding")
    for k in (2, 0):
        view.JumpSlice(*(measured.sequence.ijk_to_ras @ [32, 32, k, 1])[:3])
        panel.show_preview()
        host.wait_until(lambda: panel.preview.done)
        found = slicer.util.arrayFromVolume(panel.preview.volume)
        expected = measured.sequence.frames[0, k]
        np.testing.assert_allclose(found[0], expected, atol=1e-3 * expected.max())
        assert f"Preview of slice {k + 1}" in panel.ui.statusLabel.text
    moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = measured.sequence.ijk_to_ras[:3, 2]  # by one slice
    moved.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    browser.GetProxyNode(node).SetAndObserveTransformNodeID(moved.GetID())
    view.JumpSlice(*(measured.sequence.ijk_to_ras @ [32, 32, 1, 1])[:3])
    panel.show_preview()
    assert panel.preview.slice_number == 1, "where the transform has put it"
    browser.GetProxyNode(node).SetAndObserveTransformNodeID(None)
    host.grab(panel.widget, REPOSITORY / "Testing" / "output" / "kspace_panel.png")
    host.grab_slice_views(REPOSITORY / "Testing" / "output" / "kspace_preview.png")


def test_a_preview_with_the_kspace_of_another_scan_says_so(host, panel, measured, tmp_path):
    from STEnhanceLib import scene

    measured.kspace.part(range(6), slice(0, 3)).save(tmp_path / "short.npz")
    panel.ui.kspaceSelector.currentPath = str(tmp_path / "short.npz")
    panel.choose("temporal-tv")
    _, browser = scene.find_sequence(panel.parameters.inputNode)
    browser.SetSelectedItemNumber(8)
    panel.ui.previewButton.click()
    host.wait_until(lambda: panel.preview.done)
    assert "belongs to 6 frames" in panel.ui.statusLabel.text


def test_a_warm_worker_reads_a_measurement_once_until_its_file_changes(measured, tmp_path):
    path, frames = tmp_path / "measured.npz", np.arange(2)
    measured.kspace.save(path)
    images = measured.sequence.part(frames, slice(0, 1))

    def gridded(worker: Worker) -> np.ndarray:
        job = worker.submit("gridding", {}, images, kspace_path=path, kspace_part=(frames, slice(0, 1)))
        return np.array(job.result().frames)

    with Worker() as worker:
        first = gridded(worker)
        changed = path.stat().st_mtime_ns
        path.write_bytes(b"")  # never read
        os.utime(path, ns=(changed, changed))
        np.testing.assert_array_equal(gridded(worker), first)
        dataclasses.replace(measured.kspace, samples=2 * measured.kspace.samples).save(path)
        os.utime(path, ns=(changed + 1, changed + 1))
        np.testing.assert_allclose(gridded(worker), 2 * first, rtol=1e-5)


def test_a_part_of_a_measurement_goes_on_over_the_end_of_a_cycle(measured):
    part = measured.kspace.part([10, 11, 0, 1], slice(1, 3))
    assert isinstance(part, KSpace) and part.grid.shape == (2, 64, 64) and not part.grid.periodic
    np.testing.assert_array_equal(part.samples, measured.kspace.samples[[10, 11, 0, 1], 1:3])
    np.testing.assert_array_equal(part.mask, measured.kspace.mask[[10, 11, 0, 1]])
    np.testing.assert_allclose(np.diff(part.grid.times_ms), 75.0)
    np.testing.assert_allclose(part.grid.ijk_to_ras[:, 3], measured.kspace.grid.ijk_to_ras @ [0, 0, 1, 1])
    images = measured.sequence.part([10, 11, 0, 1], slice(1, 3))
    np.testing.assert_array_equal(images.frames, measured.sequence.frames[[10, 11, 0, 1], 1:3])
    assert np.array_equal(images.times_ms, part.grid.times_ms)


def test_all_frames_of_a_cycle_stay_a_cycle():
    grid = Grid((2, 4, 4), np.eye(4), np.array([0.0, 50, 100]), periodic=True)
    assert grid.part([0, 1, 2], slice(None)).periodic and not grid.part([0, 1], slice(None)).periodic
    assert grid.part([2, 0, 1], slice(0, 1)).times_ms.tolist() == [100, 150, 200]
