"""What the panel says, as short rich text."""

from __future__ import annotations

import html
import math

from slicer.i18n import tr as _

from STEnhanceLib.acquisition.acquired import Acquired
from STEnhanceLib.methods import Enhancement, Method
from STEnhanceLib.sequence import Grid

MEASURED_COLOUR, GENERATED_COLOUR = "#5f7f8e", "#d35400"  # to be read on light and on dark panels
GENERATED = "Frames and detail between what was measured are computed, not scanned; results are marked as such."


def grid(found: Grid) -> str:
    """Frames, size, spacing and time of a sequence."""
    k, j, i = found.shape
    spacing = " × ".join(f"{size:.3g}" for size in found.spacing_mm)
    text = _("{frames} frames × {slices} slices of {i} × {j} voxels<br>{spacing} mm").format(
        frames=len(found), slices=k, i=i, j=j, spacing=spacing
    )
    if len(found) > 1:
        text += ", " + _("{dt:.1f} ms per frame, {total:.0f} ms in all").format(
            dt=found.frame_duration_ms, total=found.times_ms[-1] - found.times_ms[0]
        )
    return text


def measured(found: Acquired) -> str:
    """What was measured of what is shown: one line."""
    return found.line().capitalize() + (" " + _("(rows × columns)") if found.interpolated else "")


def method_card(method: Method) -> str:
    """What a method does, and where it comes from."""
    return f"{html.escape(_(method.summary))}<br><small>{html.escape(method.reference)}</small>"


def invention(method: Method) -> str:
    """The warning before a method that invents; empty for the others."""
    if not method.generative:
        return ""
    warning = _("{method} invents detail: not for diagnosis, nor for measuring.").format(method=_(method.title))
    reason = _(
        "What it adds looks real, but no scanner saw it; another seed makes other detail. Compare the result with that "
        "of a method that invents nothing."
    )
    return (
        '<table width="100%" cellpadding="6" style="background-color:#fff3e0"><tr><td>'
        f'<span style="color:#bf360c"><b>⚠ {html.escape(warning)}</b><br>{html.escape(reason)}</span></td></tr></table>'
    )


def packages(missing: tuple[str, ...]) -> str:
    """The status line of the first run."""
    if not missing:
        return good(_("All Python packages are installed."))
    return bad(_("Some methods need {packages}.").format(packages=", ".join(missing)))


def memory(source: Grid, planned: Enhancement, free_bytes: int | None) -> str:
    """What the result will be, how much memory it takes, and whether that fits."""
    k, j, i = planned.grid.shape
    size = _("{frames} frames of {i} × {j} × {k}").format(frames=len(planned.grid), i=i, j=j, k=k)
    if planned.maps:
        size += " " + _("with maps: {titles}").format(titles=", ".join(_(each.title) for each in planned.maps))
    needed = needed_bytes(source, planned)
    text = _("{size}; about {needed} needed").format(size=size, needed=_bytes(needed))
    if free_bytes is None:
        return text
    text += ", " + _("{free} free").format(free=_bytes(free_bytes))
    return (
        text
        if needed < free_bytes
        else bad(text + ". " + _("Choose fewer frames, a smaller factor, or crop the input."))
    )


def needed_bytes(source: Grid, planned: Enhancement) -> int:
    """Input, result and its maps as float32, each in the scene and once more in the files between the processes."""
    result = planned.grid
    shapes = [result.shape, *(side_map.shape(result) for side_map in planned.maps)]
    return 2 * 4 * (len(source) * math.prod(source.shape) + len(result) * sum(map(math.prod, shapes)))


def progress(run, seconds_left: float) -> str:
    """Frame k of N, or what is computed before it, and the time left, see `time_left.TimeLeft`."""
    if not run.count:
        return _("Starting…")
    text = _("Frame {done} of {count}").format(done=run.finished_frames, count=run.count)
    if run.stage:
        text = run.stage[0].upper() + run.stage[1:] if not run.finished_frames else f"{text}, {run.stage}"
    if math.isfinite(seconds_left):
        left = _("about {time} left") if run.finished_frames else _("about {time} until the first frame")
        text += ", " + left.format(time=_duration(seconds_left))
    return text


def preview(shown) -> str:
    """What a preview shows, or how far it is."""
    if shown.error:
        return shown.error
    if not shown.done:
        return _("Computing the preview…") + (f" {shown.stage[0].upper()}{shown.stage[1:]}" if shown.stage else "")
    text = _("Preview of one frame, over the input.")
    if shown.slice_number is not None:
        text = _("Preview of slice {number} in one frame, over the input.").format(number=shown.slice_number)
    if shown.left_out:
        names = ", ".join(f"“{label}”" for label in shown.left_out)
        text += " " + _("Without {names}, which only a run over all frames does.").format(names=names)
    if not shown.on_screen:
        text += " " + _("No view shows the input: let one show it, and preview again.")
    return text


def outcome(run) -> str:
    """How a run ended."""
    if run.error:
        return run.error
    if run.cancelled:
        if run.result is not None:
            return _("Cancelled; {done} finished frames were kept.").format(done=run.finished_frames)
        return _("Cancelled; the scene is as it was before.")
    parts = [_("Done: {count} frames beside the input.").format(count=run.count)]
    names = [f"“{node.GetName()}”" for node in run.publication.maps]
    if names:
        parts.append(_("Beside it lie also {names}.").format(names=_(" and ").join(names)))
    return " ".join([*parts, *run.notes])


def good(text: str) -> str:
    """In green, as rich text."""
    return coloured("#2e7d32", text)


def bad(text: str) -> str:
    """In red, as rich text."""
    return coloured("#c62828", text)


def coloured(colour: str, text: str) -> str:
    """In any colour, as rich text."""
    return f'<span style="color:{colour}">{html.escape(text)}</span>'


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{max(1, round(seconds))} s"
