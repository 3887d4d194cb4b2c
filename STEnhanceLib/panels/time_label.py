"""The time in the toolbar of Slicer's sequence browser: "(generated) 42.00 ms" at generated frames of a result."""

from __future__ import annotations

from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib.panels.frame_label import frame_on_screen, result_with_generated_frames
from STEnhanceLib.scene import FRAME_GENERATED

BEFORE_THE_TOOLBAR, AFTER_THE_TOOLBAR = 1.0, -1.0  # priorities of observers; Slicer's widgets have 0


class TimeLabel(VTKObservationMixin):
    """Puts the word before the time of the frame on screen; what is saved with the scene stays as it is.

    The toolbar writes the time in the format of the browser node whenever the node tells of a change. The format is
    part of the scene, and nothing tells that a scene is about to be saved. So the word stands in it only while such an
    event is handled: it comes before the toolbar's turn, and goes after it. At measured frames as many blanks stand
    there, else the slider beside the label would change its length while the browser plays.
    """

    def __init__(self):
        VTKObservationMixin.__init__(self)
        self._result = self._browser = None
        self._word = _("(generated)") + " "

    def follow(self, result_node) -> None:
        """Label this result from now on, in the place of what was labelled before; None for nothing."""
        result, browser = result_with_generated_frames(result_node)
        if result is self._result and browser is self._browser:
            return
        self.stop()
        self._result, self._browser = result, browser
        if browser is None:
            return
        for event in ("ModifiedEvent", browser.SequenceNodeModifiedEvent):
            self.addObserver(browser, event, self._come, priority=BEFORE_THE_TOOLBAR)
            self.addObserver(browser, event, self._go, priority=AFTER_THE_TOOLBAR)
        if self._prefix() == self._word:
            browser.Modified()  # the toolbar has written its time already

    def stop(self) -> None:
        """Leave the toolbar alone."""
        self.removeObservers()
        self._result = self._browser = None

    def _prefix(self) -> str:
        if not self._browser.IsSynchronizedSequenceNode(self._result, True):  # the user took it out, or removed it
            return ""
        frame = frame_on_screen(self._result, self._browser)
        if frame is None:
            return ""
        return self._word if frame.GetAttribute(FRAME_GENERATED) == "yes" else " " * len(self._word)

    def _come(self, _caller=None, _event=None) -> None:
        self._begin_format_with(self._prefix())

    def _go(self, _caller=None, _event=None) -> None:
        self._begin_format_with("")

    def _begin_format_with(self, prefix: str) -> None:
        browser = self._browser
        users_own = browser.GetIndexDisplayFormat()
        for ours in (self._word, " " * len(self._word)):
            users_own = users_own.removeprefix(ours)
        quiet = browser.GetDisableModifiedEvent()
        browser.SetDisableModifiedEvent(True)  # the event that is being handled is enough
        browser.SetIndexDisplayFormat(prefix + users_own)
        browser.SetDisableModifiedEvent(quiet)
