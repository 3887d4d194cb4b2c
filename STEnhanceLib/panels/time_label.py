"""The time in the toolbar of Slicer's sequence browser: "(generated) 42.00 ms" at generated frames of a result."""

from __future__ import annotations

from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib.beside import sequences_of
from STEnhanceLib.panels.frame_label import has_generated_frames, origin_on_screen

# Priorities of observers; Slicer's widgets have 0.
BEFORE_ALL, BEFORE_THE_TOOLBAR, AFTER_THE_TOOLBAR = 2.0, 1.0, -1.0


class TimeLabel(VTKObservationMixin):
    """Puts the word before the time of the frame on screen; what is saved with the scene stays as it is.

    Of a browser that shows no sequence with generated frames, nothing is touched.

    The toolbar writes the time in the format of the browser node whenever the node tells of a change. The format is
    part of the scene, and nothing tells that a scene is about to be saved. So the word stands in it only while such an
    event is handled: it comes before the toolbar's turn, and goes after it. At measured frames as many blanks stand
    there, else the slider beside the label would change its length while the browser plays.
    """

    def __init__(self, browser):
        VTKObservationMixin.__init__(self)
        self._browser = browser
        self._word = _("(generated)") + " "
        self._changes_format = False
        for event in ("ModifiedEvent", browser.SequenceNodeModifiedEvent):
            self.addObserver(browser, event, self._come, priority=BEFORE_THE_TOOLBAR)
            self.addObserver(browser, event, self._go, priority=AFTER_THE_TOOLBAR)
        self._silencer = browser.AddObserver("AnyEvent", self._silence, BEFORE_ALL)
        self.say()

    def say(self) -> None:
        """At a generated frame, make the toolbar write anew what it has written already."""
        if self._prefix() == self._word:
            self._browser.Modified()

    def stop(self) -> None:
        """Leave the toolbar alone."""
        self._go()  # while an event is handled, whose end would now be missed
        self._browser.RemoveObserver(self._silencer)
        self.removeObservers()

    def _prefix(self) -> str:
        marked = [sequence for sequence in sequences_of(self._browser) if has_generated_frames(sequence)]
        if not marked:
            return ""
        origins = (origin_on_screen(sequence, self._browser) for sequence in marked)
        generated = any(origin is not None and origin.generated for origin in origins)
        return self._word if generated else " " * len(self._word)

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
