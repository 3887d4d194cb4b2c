"""Scores and reports of compared sequences, computed in a process of their own while Slicer goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from STEnhanceLib.beside import seen_from, volume_of
from STEnhanceLib.evaluation.background import BackgroundComparison
from STEnhanceLib.panels import session
from STEnhanceLib.panels.steps import Steps
from STEnhanceLib.scene import read_sequence


class Measuring:
    """One measurement at a time; a new one takes the place of the former.

    Args:
        on_done: called with the answer, see `evaluation.background.BackgroundComparison.poll`.
        on_error: called with the sentence for the user.
    """

    def __init__(self, on_done: Callable[[dict[str, Any]], None], on_error: Callable[[str], None]):
        self._on_done = on_done
        self._steps = Steps(on_error)

    @property
    def busy(self) -> bool:
        """A measurement is at work."""
        return self._steps.busy

    def start(self, before_node, after_node, reference_node=None, report: Path | None = None) -> None:
        """Read the sequences, one in each turn of the event loop, and hand them to the process."""
        self._steps.start(self._measure(before_node, after_node, reference_node, report))

    def stop(self) -> None:
        """Give up; the process ends and its files go."""
        self._steps.stop()

    def _measure(self, before_node, after_node, reference_node, report) -> Generator[None, None, None]:
        comparison = BackgroundComparison(session.python())
        try:
            sequences = []
            for node in (before_node, after_node, reference_node):
                if node is None:
                    sequences.append(None)
                    continue
                sequence = read_sequence(node, comparison.allocate)
                sequences.append(seen_from(volume_of(after_node), volume_of(node), sequence))
                yield
            comparison.start(*sequences, report=report)
            while (answer := comparison.poll()) is None:
                yield
        finally:
            comparison.close()
        self._on_done(answer)
