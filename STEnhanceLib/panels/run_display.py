"""What a panel shows of a run: the button that starts or cancels it, how far it is, and how it ended."""

from __future__ import annotations

import html
import time

from slicer.i18n import tr as _

from STEnhanceLib.panels import words
from STEnhanceLib.panels.time_left import TimeLeft

S_BETWEEN_UPDATES = 0.25  # of the bar: whenever it changes, Qt paints the window around it anew, views included


class RunDisplay:
    """Turns the button, the bar and the status line of `EnhancePanel.ui` to a run at work, and back.

    Args:
        ui: the widgets by name.
    """

    def __init__(self, ui):
        self._ui = ui
        self._time_left = TimeLeft()
        self._updated = 0.0
        ui.progressBar.visible = False

    def show_running(self) -> None:
        """A run starts: nothing can be chosen until it ends."""
        self._time_left, self._updated = TimeLeft(), 0.0
        self._lock(True)
        self._ui.applyButton.text = _("Cancel")
        self._ui.applyButton.toolTip = _(
            "Stop within a second; the scene is as before, unless finished frames are kept."
        )
        self._ui.progressBar.reset()
        self._ui.progressBar.visible = True
        self.say(_("Starting…"))

    def show_progress(self, run) -> None:
        """How far a run is, see `enhancing.SceneRun`; before the first frame how far on the way to that."""
        seconds_left = self._time_left.seconds(run.finished_frames, run.count, run.share)
        if time.monotonic() - self._updated < S_BETWEEN_UPDATES:
            return
        self._updated = time.monotonic()
        frames = run.count if run.finished_frames else 1  # nothing tells yet how long those after the first will take
        bar = self._ui.progressBar
        bar.setUpdatesEnabled(False)  # one change of the bar, not one for each property
        bar.maximum = 100 * frames
        bar.value = round(100 * (run.finished_frames + run.share))
        bar.setUpdatesEnabled(True)
        self.say(words.progress(run, seconds_left))

    def show_idle(self) -> None:
        """No run is at work."""
        self._lock(False)
        self._ui.applyButton.text = _("Apply")
        self._ui.progressBar.visible = False

    def say(self, text: str, bad: bool = False) -> None:
        """In the status line."""
        self._ui.statusLabel.text = words.bad(text) if bad else html.escape(text)

    def _lock(self, locked: bool) -> None:
        for section in (self._ui.inputSection, self._ui.methodSection, self._ui.runSection, self._ui.previewButton):
            section.enabled = not locked
        self._ui.applyButton.enabled = True
