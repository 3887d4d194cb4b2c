"""The line that a user moves over the images, and what the compared sequences show along it over time."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib.comparison import shown_volume
from STEnhanceLib.node_times import frame_times
from STEnhanceLib.panels import time_profile
from STEnhanceLib.panels.live_comparison import PANES

SETTLE_MS = 30  # while an end is dragged, pictures follow at most this often


class ProfileLine(VTKObservationMixin):
    """A markups line, there as long as profiles are shown.

    Args:
        on_profile: called with the profiles as rich text.

    Attributes:
        line: the `vtkMRMLMarkupsLineNode`; None while there is none.
    """

    def __init__(self, on_profile: Callable[[str], None]):
        VTKObservationMixin.__init__(self)
        self.line = None
        self._on_profile = on_profile
        self._sequences: Mapping[str, object] = {}
        self._after = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self._count = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.connect("timeout()", self.update)

    def start(self, sequences: Mapping[str, object], after) -> None:
        """Show profiles along a line across the image, whose ends the user drags.

        Args:
            sequences: names of `live_comparison.PANES` to sequence nodes.
            after: the one that gives the first line, and window and level.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="stenhance-profile-")
        self.line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", _("x–t profile"))
        self.line.CreateDefaultDisplayNodes()
        self.line.SetSaveWithScene(False)
        for end in time_profile.default_line(after):
            self.line.AddControlPointWorld(*end)
        for event in (self.line.PointModifiedEvent, self.line.PointPositionDefinedEvent):
            self.addObserver(self.line, event, lambda *_: self._timer.start())
        self.show(sequences, after)

    def show(self, sequences: Mapping[str, object], after) -> None:
        """Take these sequences, on the same line."""
        self._sequences, self._after = dict(sequences), after
        if self.line is not None:
            self._timer.start()

    def draw(self) -> None:
        """Let the user click both ends anew."""
        self.line.RemoveAllControlPoints()
        slicer.modules.markups.logic().SetActiveList(self.line)
        slicer.app.applicationLogic().GetInteractionNode().SwitchToSinglePlaceMode()

    def stop(self) -> None:
        """Take the line out of the scene."""
        self._timer.stop()
        self.removeObservers()
        line, self.line = self.line, None
        if line is not None and line.GetScene() is not None:
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            if interaction.GetCurrentInteractionMode() == interaction.Place:
                interaction.SwitchToViewTransformMode()
            display = line.GetDisplayNode()
            slicer.mrmlScene.RemoveNode(line)
            if display is not None and display.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(display)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._sequences, self._after = {}, None

    def update(self) -> None:
        """Sample anew and show it."""
        if self.line is None or self._after is None or self.line.GetNumberOfDefinedControlPoints() < 2:
            return
        ends = np.array([self.line.GetNthControlPointPositionWorld(n) for n in range(2)])
        length_mm = float(np.linalg.norm(ends[1] - ends[0]))
        times = time_profile.times_of(self._sequences.values())
        display = shown_volume(self._after).GetDisplayNode()
        parts = []
        self._count += 1
        for name, node in self._sequences.items():
            profile = time_profile.sample(node, ends)
            # A label caches pictures by their path, so every one gets its own.
            path = Path(self._folder.name) / f"{name}-{self._count}.png"
            time_profile.write_png(path, time_profile.picture(profile, frame_times(node)[0], times, display))
            path.with_name(f"{name}-{self._count - 1}.png").unlink(missing_ok=True)
            parts.append(f'<b>{PANES[name][1]}</b>&nbsp; {html.escape(node.GetName())}<br><img src="{path}">')
        scale = _("→ {duration:.0f} ms &nbsp; ↓ {length:.0f} mm").format(
            duration=times[-1] - times[0], length=length_mm
        )
        self._on_profile("<br>".join([*parts, scale]))
