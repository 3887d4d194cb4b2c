"""The time in the toolbar of Slicer's sequence browser: "(generated) 42.00 ms" at generated frames of a result."""

from __future__ import annotations

from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib.origin import FRAME_GENERATED
from STEnhanceLib.panels.frame_label import frame_on_screen, result_with_generated_frames

# Priorities of observers; Slicer's widgets have 0.
BEFORE_ALL, BEFORE_THE_TOOLBAR, AFTER_THE_TOOLBAR = 2.0, 1.0, -1.0


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
        self._changes_format = False

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
        self._silencer = browser.AddObserver("AnyEvent", self._silence, BEFORE_ALL)
        if self._prefix() == self._word:
            browser.Modified()  # the toolbar has written its time already

    def stop(self) -> None:
        """Leave the toolbar alone."""
        if self._browser is not None:
            self._go()  # while an event is handled, whose end would now be missed
            self._browser.RemoveObserver(self._silencer)
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
        self._changes_format = True
        browser.SetIndexDisplayFormat(prefix + users_own)
        self._changes_format = False

    def _silence(self, browser, _event) -> None:
        """Nobody hears of our change: the event that is being handled is enough.

        `SetDisableModifiedEvent` would only put it off, to whoever ends a change of the browser next.
        """
        browser.GetCommand(self._silencer).SetAbortFlag(self._changes_format)
