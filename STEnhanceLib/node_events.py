"""When those who watch a node of the scene hear of its changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def silent(node) -> Iterator[None]:
    """Keep the events of a node until somebody calls its `InvokePendingModifiedEvent`.

    At an event of a sequence its browser updates the volumes of all sequences, and the views paint them at once.
    """
    before = node.GetDisableModifiedEvent()
    node.SetDisableModifiedEvent(True)
    try:
        yield
    finally:
        node.SetDisableModifiedEvent(before)
