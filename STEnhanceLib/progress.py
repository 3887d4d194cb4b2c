"""How far a long computation is while there is no frame to show: told where it is known, heard where it is shown.

    with progress.heard_by(lambda text, share: print(text)):
        for index in range(10):
            with progress.part(index, 10, "slice"):
                for step in range(30):
                    ...
                    progress.tell(f"step {step + 1}", (step + 1) / 30)  # prints "slice 1 of 10, step 1"

What tells it need not know who listens, and pays next to nothing where nobody does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

Listener = Callable[[str, float], None]

PAUSE_S = 0.1  # between two messages: nobody reads faster


class _Part(NamedTuple):
    first: float
    width: float
    words: tuple[str, ...]


_ALL = _Part(0.0, 1.0, ())
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_part: ContextVar[_Part] = ContextVar("part", default=_ALL)


@contextlib.contextmanager
def heard_by(listener: Listener, pause_s: float = PAUSE_S) -> Iterator[None]:
    """Who is told what is computed inside: called with a few words, and the share that is done, 0 … 1.

    Args:
        listener: is called in the thread that computes.
        pause_s: at the least between two calls; what is told in between is dropped.
    """
    last = -float("inf")

    def now_and_then(text: str, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= pause_s:
            last = now
            listener(text, share)

    with _set(_listener, now_and_then), _set(_part, _ALL):
        yield


@contextlib.contextmanager
def part(index: int, count: int, what: str = "") -> Iterator[None]:
    """What is computed inside is one of `count` equal parts, `index` from 0; not to be left open across a `yield`.

    Args:
        index: which.
        count: of how many.
        what: they are called, such as "slice"; empty where nobody need know. An only one is not mentioned.
    """
    outer = _part.get()
    words = (*outer.words, f"{what} {index + 1} of {count}") if what and count > 1 else outer.words
    with _set(_part, _Part(outer.first + outer.width * index / count, outer.width / count, words)):
        yield


def tell(text: str, share: float = 0.0) -> None:
    """Say what is at work, such as "block 2 of 4", and which share of this part is done, 0 … 1.

    Args:
        text: may be empty, where the names of the parts around it tell enough.
        share: of this part.
    """
    listener, at = _listener.get(), _part.get()
    words = (*at.words, text) if text else at.words
    if listener is not None and words:
        listener(", ".join(words), at.first + at.width * share)


def tell_block(done: int, total: int) -> None:
    """Say that so many blocks of a network are done."""
    tell(f"block {done} of {total}", done / total)


@contextlib.contextmanager
def _set(variable: ContextVar, value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
