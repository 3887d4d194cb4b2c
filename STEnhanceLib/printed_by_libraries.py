"""What libraries print for their programmers, which users need not read beside the sentence that says what is wrong."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

logger = logging.getLogger(__name__)

STDOUT, STDERR = 1, 2


@contextmanager
def kept_back() -> Iterator[None]:
    """What VTK and ITK print meanwhile comes after the block; where that fails only into the log.

    They do so by an output window, by a logger and directly, so the streams themselves are led elsewhere. Whatever
    other threads print meanwhile goes the same way.
    """
    with _led_elsewhere(STDOUT), _led_elsewhere(STDERR):
        yield


@contextmanager
def _led_elsewhere(stream: int) -> Iterator[None]:
    try:
        usual = os.dup(stream)
    except OSError:  # an application without a terminal
        yield
        return
    with os.fdopen(usual, "wb", buffering=0) as out, tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), stream)
        try:
            yield
        except BaseException:
            os.dup2(usual, stream)
            if content := _content(printed):
                logger.debug("%s", content.decode(errors="replace").strip())
            raise
        os.dup2(usual, stream)
        with suppress(OSError):  # nobody reads it any more, which is no fault of the block
            out.write(_content(printed))


def _content(printed) -> bytes:
    printed.seek(0)
    return printed.read()
