"""Long work on the main thread in short steps, for MRML nodes allow no other thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator

import qt
from slicer.i18n import tr as _

from STEnhanceLib.errors import STEnhanceError

logger = logging.getLogger(__name__)

PAUSE_MS = 5  # so that views and buttons get their turn


class Steps:
    """Runs a generator from a timer, one piece of work for every turn of the event loop.

    Args:
        on_error: called with the sentence for the user when the work fails.
    """

    def __init__(self, on_error: Callable[[str], None]):
        self._on_error = on_error
        self._work: Generator[None, None, None] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(PAUSE_MS)
        self._timer.connect("timeout()", self._step)

    @property
    def busy(self) -> bool:
        """There is work left."""
        return self._work is not None

    def start(self, work: Generator[None, None, None]) -> None:
        """Begin, in place of what was at work."""
        self.stop()
        self._work = work
        self._timer.start()

    def stop(self) -> None:
        """Give up what is at work; its `finally` clauses run."""
        self._timer.stop()
        work, self._work = self._work, None
        if work is not None and not work.gi_running:
            work.close()

    def _step(self) -> None:
        work = self._work
        try:
            next(work)
            if self._work is not work:  # the work itself has led to its end
                work.close()
        except StopIteration:
            self._end(work)
        except STEnhanceError as error:
            self._end(work)
            self._on_error(str(error))
        except Exception:
            self._end(work)
            self._on_error(_("That failed; the log has the details to report."))
            raise

    def _end(self, work) -> None:
        if self._work is work:  # its last step may have started other work
            self.stop()
