"""Artefact Reduction: a thin scripted module around the panel that the three STEnhance modules share."""

import sys
from pathlib import Path

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest

try:
    import STEnhanceLib  # noqa: F401
except ModuleNotFoundError:  # run in place, from a checkout: the library lies beside the folder of the modules
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from STEnhanceLib.methods import Task
from STEnhanceLib.panels.module import EnhanceModule, EnhanceModuleWidget
from STEnhanceLib.panels.self_test import PanelSelfTest


class ArtefactReduction(EnhanceModule):
    """The module as Slicer lists it."""

    title = "Artefact Reduction"
    help = (
        "Removes noise, streaks and aliasing from a 4D MR sequence: from its images alone, or from its "
        "k-space where that is at hand. The result appears frame by frame beside the input, in the same "
        "browser."
    )


class ArtefactReductionLogic(ScriptedLoadableModuleLogic):
    """Keeps the parameter node; all computing is done by STEnhanceLib, which works without Slicer too."""


class ArtefactReductionWidget(EnhanceModuleWidget):
    """The panel, for this task."""

    task = Task.ARTEFACT_REDUCTION
    logic_class = ArtefactReductionLogic


class ArtefactReductionTest(PanelSelfTest, ScriptedLoadableModuleTest):
    """Runs every training-free method of this module through the panel, on the phantom."""

    module_name = "ArtefactReduction"
    task = Task.ARTEFACT_REDUCTION

    def runTest(self):  # noqa: N802
        """What "Reload and Test" runs: the same as ctest."""
        self.run_all_tests()
