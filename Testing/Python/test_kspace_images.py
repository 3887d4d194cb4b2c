"""A k-space file that came without images: the panel grids them, and offers what suits the kind of the measurement."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import raw_data

from STEnhanceLib.acquisition.gridded_images import NOTE
from STEnhanceLib.acquisition.kspace_kind import CARTESIAN, RADIAL, UNKNOWN, kspace_kind
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.jobs.gridding_in_background import GriddingInBackground
from STEnhanceLib.methods import Need, Task, methods_for, run
from STEnhanceLib.phantoms.thorax import Thorax

pytest.importorskip("torchkbnufft")
pytest.importorskip("PySide6")
pytest.importorskip("slicer")

REPOSITORY = Path(__file__).parents[2]
KIND = {"c4": CARTESIAN, "r26": RADIAL}


@pytest.fixture(scope="module")
def measured():
    truth = Thorax(breathing_mm=0).cine(frames=4, matrix=32, slices=2)
    return {name: simulate(truth, name) for name in KIND}


@pytest.fixture(scope="module")
def folder(measured, tmp_path_factory) -> Path:
    """Holds c4.npz and r26.npz."""
    folder = tmp_path_factory.mktemp("scans")
    for name, simulation in measured.items():
        simulation.kspace.save(folder / f"{name}.npz")
    return folder


@pytest.fixture
def panel(host):
    return host.load_module(REPOSITORY / "STEnhance" / "ArtefactReduction" / "ArtefactReduction.py").panel


@pytest.fixture
def python_behind_a_gate(host, tmp_path, gate, monkeypatch):
    """What grids does not start before the gate opens."""
    from STEnhanceLib.panels import session

    path = tmp_path / "PythonSlicer"
    monkeypatch.setattr(session, "python", lambda: str(path))
    path.write_text(f'#!/bin/sh\nwhile [ ! -e "{gate}" ]; do sleep 0.05; done\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)


def shown(widget) -> bool:
    return not widget.isHidden()


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
@pytest.mark.usefixtures("python_behind_a_gate")
@pytest.mark.parametrize("name", KIND)
def test_one_click_grids_the_images_of_a_measurement_and_takes_them_as_the_input(host, panel, folder, measured, name):
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.panels import session

    host.show_views()
    button, path = panel.ui.kspaceImagesButton, folder / f"{name}.npz"
    assert panel.parameters.inputNode is None and not shown(button)
    panel.ui.kspaceSelector.currentPath = str(path)
    assert shown(button) and not panel.ui.applyButton.enabled
    assert "or load its images" in panel.ui.statusLabel.text
    button.click()
    assert f"Gridding the images of {name}.npz" in panel.ui.statusLabel.text and not button.enabled
    host.wait(0.1)
    assert panel._images.busy and panel.parameters.inputNode is None, "the event loop goes on without it"
    Path(session.python()).with_name("gate").touch()
    host.wait_until(lambda: panel.parameters.inputNode is not None)
    images, expected = scene.read_sequence(panel.parameters.inputNode), measured[name].sequence
    assert images.name == name and NOTE in images.notes
    np.testing.assert_allclose(images.frames, expected.frames, atol=1e-3 * expected.frames.max())
    np.testing.assert_allclose(images.ijk_to_ras, expected.ijk_to_ras)
    np.testing.assert_allclose(images.times_ms, expected.times_ms)
    assert images.periodic == expected.periodic
    assert panel.ui.kspaceSelector.currentPath == str(path), "it stays the measurement of these images"
    assert not shown(button), "they are there now"
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
    volume = scene.find_sequence(panel.parameters.inputNode)[1].GetProxyNode(panel.parameters.inputNode)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == volume.GetID()


def test_images_of_another_scan_do_not_keep_the_button_away(panel, folder, measured):
    from STEnhanceLib import scene

    panel.parameters.inputNode = scene.add_sequence(dataclasses.replace(measured["c4"].sequence, name="loaded before"))
    panel.ui.kspaceSelector.currentPath = str(folder / "r26.npz")
    assert shown(panel.ui.kspaceImagesButton)
    panel.ui.kspaceSelector.currentPath = ""
    assert not shown(panel.ui.kspaceImagesButton)


@pytest.mark.parametrize("content", [b"no archive", "another archive"])
def test_a_bad_file_is_one_sentence_and_nothing_changes(host, panel, tmp_path, content):
    import slicer

    path = tmp_path / "bad.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, something=np.zeros(3))
    panel.ui.kspaceSelector.currentPath = str(path)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.kspaceImagesButton.click()
    host.wait_until(lambda: panel.ui.kspaceImagesButton.enabled)
    assert "is not a k-space file" in panel.ui.statusLabel.text and "c62828" in panel.ui.statusLabel.text
    assert panel.parameters.inputNode is None and slicer.mrmlScene.GetNumberOfNodes() == nodes


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
@pytest.mark.usefixtures("python_behind_a_gate")
def test_leaving_the_module_gives_the_gridding_up(host, panel, folder):
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.kspaceSelector.currentPath = str(folder / "c4.npz")
    panel.ui.kspaceImagesButton.click()
    host.wait(0.05)
    assert panel._images.busy
    panel.exit()
    assert not panel._images.busy and panel.ui.kspaceImagesButton.enabled
    assert "or load its images" in panel.ui.statusLabel.text, "nothing is gridded any more"
    host.wait(0.1)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_modules_that_use_no_measurement_do_not_ask_for_images(host, folder):
    panel = host.load_module(REPOSITORY / "STEnhance" / "TemporalInterpolation" / "TemporalInterpolation.py").panel
    panel.parameters.kspacePath = str(folder / "c4.npz")
    assert not shown(panel.ui.kspaceImagesButton) and panel.ui.kspaceSelector.isHidden()


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
@pytest.mark.usefixtures("python_behind_a_gate")
def test_a_process_that_dies_is_one_sentence(folder):
    from STEnhanceLib.panels import session

    gridding = GriddingInBackground(folder / "c4.npz", session.python())
    gridding._process._process.kill()
    with pytest.raises(STEnhanceError, match="ended unexpectedly"):
        while gridding.poll() is None:
            pass
    left = gridding._folder
    gridding.close()
    assert not left.exists()


def entry(panel, key: str) -> tuple[bool, str, str]:
    """Whether it can be picked, its text and its tooltip."""
    import qt

    box = panel.ui.methodSelector
    row = box.findData(key)
    return box.model().item(row).isEnabled(), box.itemText(row), box.itemData(row, qt.Qt.ToolTipRole)


def test_what_completes_lines_is_grey_for_spokes_and_says_why(panel, folder):
    panel.ui.kspaceSelector.currentPath = str(folder / "r26.npz")
    enabled, text, tip = entry(panel, "k-space-cnn")
    assert not enabled
    assert "needs Cartesian k-space, and this is radial" in text and "needs Cartesian k-space" in tip
    assert panel.method.key != "k-space-cnn"
    assert entry(panel, "temporal-tv")[0]
    panel.ui.kspaceSelector.currentPath = str(folder / "c4.npz")
    enabled, text, _tip = entry(panel, "k-space-cnn")
    assert enabled and "radial" not in text


def test_those_that_say_so_and_no_others_refuse_spokes(measured):
    refusing, declared = set(), set()
    for method in methods_for(Task.ARTEFACT_REDUCTION):
        if method.cartesian_only:
            declared.add(method.key)
        if Need.KSPACE in method.takes:
            try:
                simulation = measured["r26"]
                run.enhance(method, simulation.sequence, method.parameters(), kspace=simulation.kspace)
            except STEnhanceError as error:
                if "radial" in str(error):
                    refusing.add(method.key)
    assert refusing == declared != set()


class TestKind:
    @pytest.mark.parametrize("name", KIND)
    def test_of_our_own_files_is_read_from_the_list_of_their_arrays(self, folder, name, monkeypatch):
        monkeypatch.setattr(np, "load", None)  # nothing is read
        assert kspace_kind(folder / f"{name}.npz") == KIND[name]

    @pytest.mark.skipif(importlib.util.find_spec("ismrmrd") is None, reason="ismrmrd is not installed")
    @pytest.mark.parametrize("name", KIND)
    def test_of_raw_data_is_read_from_their_header(self, measured, tmp_path, name):
        assert kspace_kind(raw_data.write(tmp_path / f"{name}.h5", measured[name].kspace)) == KIND[name]

    def test_of_what_is_no_measurement_is_unknown(self, tmp_path):
        for name in ("damaged.npz", "damaged.h5"):
            (tmp_path / name).write_bytes(b"nothing")
            assert kspace_kind(tmp_path / name) == UNKNOWN
        assert kspace_kind(tmp_path / "missing.npz") == UNKNOWN == kspace_kind(tmp_path)

    def test_is_that_of_the_file_as_it_is_now(self, folder, tmp_path):
        path = tmp_path / "scan.npz"
        path.write_bytes((folder / "c4.npz").read_bytes())
        assert kspace_kind(path) == CARTESIAN
        first = path.stat().st_mtime_ns
        path.write_bytes((folder / "r26.npz").read_bytes())
        os.utime(path, ns=(first + 1, first + 1))  # a quick machine writes both within one tick of its clock
        assert kspace_kind(path) == RADIAL
