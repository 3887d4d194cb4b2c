"""When the frames of a result will be: measured and generated moments over time, as a picture and in words."""

from __future__ import annotations

import html

import numpy as np
import qt
from slicer.i18n import tr as _

from STEnhanceLib.origin import SAME_MOMENT_MS
from STEnhanceLib.panels import words
from STEnhanceLib.sequence import Grid

WIDTH, HEIGHT, MARGIN = 1200, 52, 8  # pixels of the picture, which a label stretches over the width of the panel
WIDEST_TICK = 6
LEFT_OUT = "#c3ced4"


class TimeAxis:
    """Shows the moments of the result that is planned, or why there are none.

    Args:
        widget: holds the two labels; hidden while there is nothing to say.
        picture: a QLabel that stretches its contents.
        label: a QLabel for rich text.
        always: also show a result that has no other times than its input.
    """

    def __init__(self, widget, picture, label, *, always: bool):
        self._widget, self._picture, self._label, self._always = widget, picture, label, always

    def show(self, source: Grid | None, result: Grid | None, problem: str | None, measured: np.ndarray | None) -> bool:
        """Draw the times of the result.

        Args:
            source: of the input; None where there is none.
            result: what is planned; None where nothing can be.
            problem: why not.
            measured: (T,) which frames of the result are measured ones; the others are generated.

        Returns:
            whether the problem is said here.
        """
        new_times = result is not None and not measured.all()
        shown = source is not None and (self._always or new_times)
        self._widget.setVisible(shown)
        if not shown:  # not `isHidden`: in a collapsed section everything is, and it may be opened at any time
            return False
        self._picture.setVisible(result is not None)
        if result is None:
            self._label.text = words.bad(problem)
            return True
        self._picture.setPixmap(picture(source, result, measured))
        self._label.text = in_words(source, result, int(np.count_nonzero(measured)))
        return False


def in_words(source: Grid, result: Grid, measured: int) -> str:
    """The ends of the axis, and below them how many frames there will be and when, as rich text."""
    first, last = _ends(source, result)
    again = _("the first frame again at {end} ms") if source.periodic else "{end} ms"
    parts = [
        _("{measured} + {generated} frames").format(
            measured=_bold(words.MEASURED_COLOUR, _("{count} measured").format(count=measured)),
            generated=_bold(words.GENERATED_COLOUR, _("{count} generated").format(count=len(result) - measured)),
        ),
        *_spacing(result),
        _("{first} … {last} ms")
        .replace(" ", "\u00a0")
        .format(first=_ms(result.times_ms[0]), last=_ms(result.times_ms[-1])),
    ]
    if source.periodic and result.times_ms[-1] > source.times_ms[-1] + SAME_MOMENT_MS:
        parts.append(_("closes the cycle"))
    return (
        f'<table width="100%"><tr><td><small>{_ms(first)} ms</small></td>'
        f'<td align="right"><small>{html.escape(again.format(end=_ms(last)))}</small></td></tr></table>'
        f"{', '.join(parts)}"
    )


def picture(source: Grid, result: Grid, measured: np.ndarray) -> qt.QPixmap:
    """Long ticks for what was measured, short ones for what is generated, on a line from the first moment to the last.

    What was measured and is not asked for is pale, as is the first frame where it closes a cycle.
    """
    first, last = _ends(source, result)
    wide = max(1, min(WIDEST_TICK, (WIDTH - 2 * MARGIN) // (2 * len(result))))
    pixmap = qt.QPixmap(WIDTH, HEIGHT)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)

    def tick(time_ms: float, top: int, colour: str) -> None:
        left = MARGIN + (WIDTH - 2 * MARGIN) * (time_ms - first) / max(last - first, SAME_MOMENT_MS)
        painter.fillRect(round(left) - wide // 2, top, wide, HEIGHT - top, qt.QColor(colour))

    painter.fillRect(0, HEIGHT - 3, WIDTH, 3, qt.QColor(LEFT_OUT))
    again = [last] if source.periodic else []
    for time_ms in (*source.times_ms, *again):
        tick(float(time_ms), 0, LEFT_OUT)
    for time_ms, is_measured in zip(result.times_ms, measured, strict=True):
        if is_measured:
            tick(float(time_ms), 0, words.MEASURED_COLOUR)
        else:
            tick(float(time_ms), HEIGHT // 2, words.GENERATED_COLOUR)
    painter.end()  # a painter that is still at work when the pixmap goes ends the application
    return pixmap


def _ends(source: Grid, result: Grid) -> tuple[float, float]:
    """The first and the last moment of the axis, in ms; a cycle reaches until its first frame returns."""
    end = source.times_ms[0] + source.period_ms if source.periodic else source.times_ms[-1]
    return float(min(source.times_ms[0], result.times_ms[0])), float(max(end, result.times_ms[-1]))


def _spacing(result: Grid) -> list[str]:
    steps = np.diff(result.times_ms)
    if not len(steps):
        return []
    if np.ptp(steps) <= 1e-3 * steps.max():
        return [_("every {step} ms").format(step=_ms(steps.mean()))]
    return [_("{least} to {most} ms apart").format(least=_ms(steps.min()), most=_ms(steps.max()))]


def _ms(time_ms: float) -> str:
    return f"{time_ms:.2f}".rstrip("0").rstrip(".")


def _bold(colour: str, text: str) -> str:
    return f"<b>{words.coloured(colour, text)}</b>"
