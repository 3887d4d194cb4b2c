"""What each module's self test does in Slicer, and in the smoke host: everything through the panel's own code path."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import slicer

from STEnhanceLib import scene
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.methods import Need, Task, methods_for
from STEnhanceLib.panels.live_comparison import Mode
from STEnhanceLib.phantoms.thorax import Thorax

DEGRADED_BY = {Task.SUPER_RESOLUTION: "s2", Task.ARTEFACT_REDUCTION: "c4", Task.TEMPORAL_INTERPOLATION: "t2"}
PATIENCE_S = 60
_PANES_OF = {True: {"before", "after"}, False: {"before"}}  # side by side, and one over the other


class PanelSelfTest:
    """The tests of one module; mixed into its `ScriptedLoadableModuleTest`.

    Attributes:
        module_name: which module.
        task: whose methods it runs.
    """

    module_name: str
    task: Task

    def setUp(self):
        """An empty scene and the module's panel."""
        slicer.mrmlScene.Clear()
        slicer.util.selectModule(self.module_name)
        self.panel = slicer.util.getModuleWidget(self.module_name).panel

    def run_all_tests(self) -> None:
        """Every `test…` method, each in an empty scene."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()

    def test_every_training_free_method_leaves_the_input_and_keeps_the_place(self):
        """Geometry, times, master of the browser, and the frames of the input."""
        for method in methods_for(self.task):
            if not method.baseline or method.missing_packages():
                continue
            slicer.mrmlScene.Clear()
            node, browser = self._load_phantom(method)
            before = _fingerprint(node)
            self._apply(method.key)
            result = scene.read_sequence(self.panel.run.result)
            source = scene.read_sequence(node)
            self.assertEqual(_fingerprint(node), before, method.key)
            self.assertEqual(browser.GetSelectedItemNumber(), 0)
            np.testing.assert_allclose(_field_of_view_mm(result), _field_of_view_mm(source), rtol=1e-6)
            self.assertTrue(np.isin(np.round(source.times_ms, 3), np.round(result.times_ms, 3)).all())
            denser = len(result) > len(source)
            self.assertEqual(browser.GetMasterSequenceNode() is self.panel.run.result, denser)
            self.assertEqual(result.attributes["STEnhance.Method"], method.key)
            self.assertIn("not for clinical use", result.attributes["STEnhance.Notice"])

    def test_a_comparison_opens_in_every_mode(self):
        """One after the other, as the user clicks through them; then the views are those from before."""
        if slicer.app.layoutManager() is None:
            return
        self._load_phantom(self.panel.method)
        self._apply(self.panel.method.key)
        compare, layout = self.panel.compare, slicer.app.layoutManager().layout
        compare.ui.compareButton.click()
        for mode in (*Mode, *Mode):
            compare.ui.modeSelector.currentIndex = int(mode)
            self._wait_for_views()
            self.assertEqual(compare.views.panes.keys(), _PANES_OF[mode == Mode.SIDE_BY_SIDE], mode)
            widths_mm = {round(view.GetFieldOfView()[0], 3) for view in compare.views.panes.values()}
            self.assertEqual(len(widths_mm), 1, mode)
        compare.ui.compareButton.click()
        self.assertEqual(slicer.app.layoutManager().layout, layout)
        self.assertIsNone(slicer.mrmlScene.GetFirstNodeByName("STEnhance wipe"))

    def _wait_for_views(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.panel.compare.busy:
            self.assertLess(time.monotonic(), end, "the views did not come in time")
            self._idle(0.02)
        self._idle(0.1)  # they get their size, then they are fitted

    def test_cancel_leaves_the_scene_as_it_was(self):
        """Nodes and frames are those from before."""
        node, _browser = self._load_phantom(self.panel.method)
        nodes, before = _node_ids(), _fingerprint(node)
        self.panel.apply()
        self.panel.ui.applyButton.click()
        self._wait()
        self.assertTrue(self.panel.run.cancelled or self.panel.run.error is None)
        if self.panel.run.cancelled:
            self.assertEqual(_node_ids(), nodes)
        self.assertEqual(_fingerprint(node), before)

    def test_closing_the_scene_ends_a_run(self):
        """No node of the run comes back into the new scene, and the panel is ready again."""
        self._load_phantom(self.panel.method)
        self.panel.apply()
        slicer.mrmlScene.Clear()
        self._idle(0.5)
        self.assertFalse(self.panel.running)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode"), 0)
        self.assertFalse(self.panel.ui.applyButton.enabled)

    def test_bad_input_is_refused_in_words(self):
        """No sequence, a plain volume, colour images, and a single frame where time is to be filled in."""
        self.assertFalse(self.panel.ui.applyButton.enabled)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "one volume")
        slicer.util.updateVolumeFromArray(volume, np.zeros((2, 8, 8), np.float32))
        self._expect_refusal(volume, "belongs to no sequence")
        colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "colours")
        picture = slicer.vtkMRMLVectorVolumeNode()
        slicer.util.updateVolumeFromArray(picture, np.zeros((1, 8, 8, 3), np.uint8))
        colours.SetDataNodeAtValue(picture, "0")
        self._expect_refusal(colours, "expected greyscale volumes")
        if self.task is Task.TEMPORAL_INTERPOLATION:
            phantom = Thorax().cine(frames=1, matrix=32, slices=1)
            self._expect_refusal(scene.add_sequence(phantom), "1 frame")

    def _expect_refusal(self, node, words: str) -> None:
        self.panel.parameters.inputNode = node
        self.assertFalse(self.panel.ui.applyButton.enabled)
        self.assertIn(words, self.panel.ui.foundLabel.text + self.panel.ui.applyButton.toolTip)

    def _load_phantom(self, method):
        """A small breath-hold phantom, degraded for this task, as the panel's input."""
        truth = Thorax(breathing_mm=0).cine(frames=8, matrix=48, slices=2)
        with_kspace = Need.KSPACE in method.needs
        degraded = simulate(truth, DEGRADED_BY[self.task]) if with_kspace or self.task not in _FROM_IMAGES else None
        node = scene.add_sequence(degraded.sequence if degraded else truth)
        self.panel.parameters.inputNode = node
        if with_kspace:
            path = Path(slicer.app.temporaryPath) / f"{self.module_name}SelfTest.npz"
            degraded.kspace.save(path)
            self.panel.ui.kspaceSelector.currentPath = str(path)
        return node, scene.find_sequence(node)[1]

    def _apply(self, key: str) -> None:
        self.panel.choose(key)
        self.assertTrue(self.panel.ui.applyButton.enabled, self.panel.ui.statusLabel.text)
        self.panel.ui.applyButton.click()
        self._wait()
        self.assertIsNone(self.panel.run.error)
        self.assertFalse(self.panel.run.cancelled)

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.panel.running:
            self.assertLess(time.monotonic(), end, "the run did not end in time")
            self._idle(0.02)

    @staticmethod
    def _idle(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()  # a test has no event loop of its own


_FROM_IMAGES = (Task.ARTEFACT_REDUCTION,)  # simulating its acquisition needs torch, its image methods do not


def _fingerprint(sequence_node) -> str:
    """Changes with any voxel, place or index value of any frame."""
    digest = hashlib.sha256()
    for index in range(sequence_node.GetNumberOfDataNodes()):
        volume = sequence_node.GetNthDataNode(index)
        digest.update(slicer.util.arrayFromVolume(volume).tobytes())
        digest.update(sequence_node.GetNthIndexValue(index).encode())
    digest.update(scene.describe_sequence(sequence_node)[0].ijk_to_ras.tobytes())
    return digest.hexdigest()


def _field_of_view_mm(sequence) -> np.ndarray:
    """Size of the imaged box along i, j and k."""
    return np.array(sequence.grid.spacing_mm) * sequence.grid.shape[::-1]


def _node_ids() -> set[str]:
    nodes = slicer.mrmlScene.GetNodes()
    return {nodes.GetItemAsObject(index).GetID() for index in range(nodes.GetNumberOfItems())}
