"""Temporal Interpolation: a thin scripted module around the panel that the three STEnhance modules share."""

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


class TemporalInterpolation(EnhanceModule):
    """The module as Slicer lists it."""

    title = "Temporal Interpolation"
    help = (
        "Fills in moments between the frames of a 4D MR sequence. Measured frames stay as they are, bit for "
        "bit; the new ones are marked as generated. The result appears beside the input, in the same browser."
    )


class TemporalInterpolationLogic(ScriptedLoadableModuleLogic):
    """Keeps the parameter node; all computing is done by STEnhanceLib, which works without Slicer too."""


class TemporalInterpolationWidget(EnhanceModuleWidget):
    """The panel, for this task."""

    task = Task.TEMPORAL_INTERPOLATION
    logic_class = TemporalInterpolationLogic


class TemporalInterpolationTest(PanelSelfTest, ScriptedLoadableModuleTest):
    """Runs every training-free method of this module through the panel, on the phantom."""

    module_name = "TemporalInterpolation"
    task = Task.TEMPORAL_INTERPOLATION

    def runTest(self):  # noqa: N802
        """What "Reload and Test" runs: the same as ctest."""
        self.run_all_tests()
