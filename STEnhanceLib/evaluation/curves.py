"""Small line plots as SVG text: no plotting library is needed to write a report, and they print sharply."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 230
MOST_DECADES = 4  # of a spectrum: less is rounding
LEFT, RIGHT, TOP, BOTTOM = 58, 548, 14, 188  # the frame of the axes


def metric_plot(
    times_ms: np.ndarray, curves: Mapping[str, np.ndarray], label: str, span_ms: tuple[float, float]
) -> str:
    """One metric over time.

    Args:
        times_ms: (T,) of the scored frames.
        curves: (T,) per method, drawn in this order with the CSS classes `curve-0`, `curve-1`, …; a gap where a value
            is not finite.
        label: of the vertical axis.
        span_ms: first and last time of the common axis, so that all plots of a comparison share it.
    """
    values = np.concatenate([np.asarray(v, float) for v in curves.values()])
    values = values[np.isfinite(values)]
    if not len(values):
        return f'<p class="empty">{escape(label)}: no finite value to draw.</p>'
    ticks = nice_ticks(values.min(), values.max(), 5)
    low, high = min(ticks[0], values.min()), max(ticks[-1], values.max())
    begin, end = span_ms if span_ms[1] > span_ms[0] else (span_ms[0] - 1, span_ms[1] + 1)

    def x(time):
        return LEFT + (RIGHT - LEFT) * (time - begin) / (end - begin)

    def y(value):
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:.{decimals}f}</text>'
        for t in ticks
    ]
    parts += [
        f'<line class="notch" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>'
        f'<text class="tick" x="{x(t):.1f}" y="{BOTTOM + 19}" text-anchor="middle">{t:g}</text>'
        for t in nice_ticks(begin, end, 6)
        if begin <= t <= end
    ]
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    for number, (name, curve) in enumerate(curves.items()):
        points = [(x(t), y(v)) if np.isfinite(v) else None for t, v in zip(times_ms, curve, strict=True)]
        dots = "".join(f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2.6"/>' for p in points if p)
        title = f"<title>{escape(name)}</title>"
        parts.append(f'<g class="curve curve-{number}">{title}<path d="{_path(points)}"/>{dots}</g>')
    parts.append(f'<line class="cursor" x1="{x(begin):.1f}" x2="{x(begin):.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
    parts.append(f'<text class="label" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">time / ms</text>')
    alternative = escape(f"{label} per frame: {', '.join(curves)}")
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alternative}" '
        f'data-left="{LEFT}" data-right="{RIGHT}" data-begin="{begin}" data-end="{end}">{"".join(parts)}</svg>'
    )


def spectrum_plot(frequencies: np.ndarray, curves: Mapping[str, tuple[str, np.ndarray]], unit: str) -> str:
    """Amplitudes over temporal frequency, on a logarithmic scale of whole decades.

    Args:
        frequencies: (F,) from 0 on.
        curves: by CSS class, what each is called and its values (F,); a gap where one is not positive.
        unit: of the frequencies.
    """
    values = np.concatenate([curve[1] for curve in curves.values()])
    values = values[values > 0]
    if not len(values):
        return '<p class="empty">Nothing changed.</p>'
    low = math.floor(max(math.log10(values.min()), math.log10(values.max()) - MOST_DECADES))
    high = max(math.ceil(math.log10(values.max())), low + 1)

    def x(frequency):
        return LEFT + (RIGHT - LEFT) * frequency / frequencies[-1]

    def y(value):
        return BOTTOM - (BOTTOM - TOP) * (math.log10(value) - low) / (high - low)

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y(10.0**n):.1f}" y2="{y(10.0**n):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(10.0**n) + 4:.1f}" text-anchor="end">{10.0**n:g}</text>'
        for n in range(low, high + 1)
    ]
    parts += [
        f'<line class="notch" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>'
        f'<text class="tick" x="{x(t):.1f}" y="{BOTTOM + 19}" text-anchor="middle">{t:g}</text>'
        for t in nice_ticks(0, frequencies[-1], 6)
        if t <= frequencies[-1]
    ]
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    for kind, (name, curve) in curves.items():
        seen = [v >= 10.0**low for v in curve]
        points = [(x(f), y(v)) if s else None for f, v, s in zip(frequencies, curve, seen, strict=True)]
        dots = "".join(f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2.6"/>' for p in points if p)
        parts.append(f'<g class="curve {kind}"><title>{escape(name)}</title><path d="{_path(points)}"/>{dots}</g>')
    middle = (LEFT + RIGHT) / 2
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(unit)}</text>')
    names = escape(", ".join(name for name, _ in curves.values()))
    return (
        f'<svg class="spectrum" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Amplitude per temporal frequency: {names}">{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) around or within a range, about `count` of them."""
    spread = high - low
    if not spread > 1e-9 * max(abs(low), abs(high), 1e-9):
        spread = 0.1 * abs(high) or 1.0
    step = nice_ceiling(spread / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9))


def _path(points) -> str:
    """Lines through neighbouring points; a gap at every None."""
    parts, drawing = [], False
    for point in points:
        if point:
            parts.append(f"{'L' if drawing else 'M'}{point[0]:.1f} {point[1]:.1f}")
        drawing = bool(point)
    return "".join(parts)
