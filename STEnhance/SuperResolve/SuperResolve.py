"""Super-Resolve: a thin scripted module around the panel that the three STEnhance modules share."""

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


class SuperResolve(EnhanceModule):
    """The module as Slicer lists it."""

    title = "Super-Resolve"
    help = (
        "Gives a 4D MR sequence a finer grid: every frame with more voxels, on exactly the place of the "
        "measured ones. The result appears frame by frame beside the input, in the same browser."
    )


class SuperResolveLogic(ScriptedLoadableModuleLogic):
    """Keeps the parameter node; all computing is done by STEnhanceLib, which works without Slicer too."""


class SuperResolveWidget(EnhanceModuleWidget):
    """The panel, for this task."""

    task = Task.SUPER_RESOLUTION
    logic_class = SuperResolveLogic


class SuperResolveTest(PanelSelfTest, ScriptedLoadableModuleTest):
    """Runs every training-free method of this module through the panel, on the phantom."""

    module_name = "SuperResolve"
    task = Task.SUPER_RESOLUTION

    def runTest(self):  # noqa: N802
        """What "Reload and Test" runs: the same as ctest."""
        self.run_all_tests()
