"""What a panel shows of a run: the button that starts or cancels it, how far it is, and how it ended."""

from __future__ import annotations

import html

from slicer.i18n import tr as _

from STEnhanceLib.panels import words
from STEnhanceLib.panels.time_left import TimeLeft


class RunDisplay:
    """Turns the button, the bar and the status line of `EnhancePanel.ui` to a run at work, and back.

    Args:
        ui: the widgets by name.
    """

    def __init__(self, ui):
        self._ui = ui
        self._time_left = TimeLeft()
        ui.progressBar.visible = False

    def show_running(self) -> None:
        """A run starts: nothing can be chosen until it ends."""
        self._time_left = TimeLeft()
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
        frames = run.count if run.finished_frames else 1  # nothing tells yet how long those after the first will take
        self._ui.progressBar.maximum = 100 * frames
        self._ui.progressBar.value = round(100 * (run.finished_frames + run.share))
        self.say(words.progress(run, self._time_left.seconds(run.finished_frames, run.count, run.share)))

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
