"""The one exception a user may see, and how what parsers raise becomes it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

logger = logging.getLogger(__name__)


class STEnhanceError(Exception):
    """Something the user can mend.

    The message is one sentence or two that say what was found, what was expected and what to do. Every surface
    (command line, panel, worker) shows it as it stands, without a traceback.
    """


@contextlib.contextmanager
def refused(found: str, advice: str) -> Iterator[None]:
    """Turn whatever a parser raises on bytes of others into the sentence; the one place that does.

    Parsers (numbers, JSON, XML, HDF5, DICOM, archives) have no common base of what they raise. Only what reads foreign
    bytes stands in the block, so that a fault of ours elsewhere remains one; the log keeps the traceback.

    Args:
        found: what cannot be read, without a full stop; the reason follows it in brackets.
        advice: what was expected and what to do.

    Raises:
        STEnhanceError: what was raised, in words; one that comes from the block stays as it is.
        MemoryError: likewise.
        OSError: what the system says of the disk, likewise.
    """
    try:
        yield
    except (STEnhanceError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refusal(found, error, advice) from error
    except Exception as error:
        logger.debug("%s", found, exc_info=True)
        raise _refusal(found, error, advice) from error


def _refusal(found: str, error: Exception, advice: str) -> STEnhanceError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")[:200]
    if isinstance(error, KeyError) or not reason:
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return STEnhanceError(f"{found} ({reason}); {advice}")
