"""What a person sees on the terminal: tables, progress with the time left, and one sentence when something is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from STEnhanceLib import models, progress
from STEnhanceLib.acquisition import acquired
from STEnhanceLib.assumed import NOT_A_CYCLE
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.metrics import Scores, identical_words
from STEnhanceLib.methods.declaration import Method
from STEnhanceLib.sequence import ImageSequence

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


def start_logging(verbose: bool) -> None:
    """Send the library's log to the terminal: warnings, or everything."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=err, show_path=False)]
    )
    logging.getLogger("STEnhanceLib").setLevel(level)


def complain(sentence: str) -> None:
    """One sentence on stderr."""
    err.print("[bold red]stenhance:[/]", end=" ")
    err.print(sentence, markup=False, soft_wrap=True)


def say_written(path: Path) -> None:
    """Say where a file is now."""
    out.print(f"Wrote {path}", markup=False, soft_wrap=True)


def show_notes(notes: tuple[str, ...]) -> None:
    """What was assumed, one line each."""
    for note in notes:
        how = " Add --periodic." if note == NOT_A_CYCLE else ""
        out.print(f"Note: {note}{how}", style="yellow", markup=False, soft_wrap=True)


def show_sequence(sequence: ImageSequence) -> None:
    """Geometry, time and what had to be assumed."""
    k, j, i = sequence.grid.shape
    frames, slices = _count(len(sequence), "frame"), _count(k, "slice")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Name", _plain(sequence.name))
    table.add_row("Size", f"{frames} × {slices} × {j} × {i} voxels, {sequence.frames.dtype}")
    measured = acquired.estimate(sequence)
    table.add_row("Measured", _plain(measured.line()))
    for name, ji in (("header", measured.header_ji), ("images", measured.images_ji)):
        if ji is not None:
            table.add_row(f"  by the {name}", f"about {acquired.matrix_text(ji)} (rows × columns)")
    table.add_row("Spacing", " × ".join(f"{size:.4f}" for size in sequence.grid.spacing_mm) + " mm (i × j × k)")
    table.add_row("Origin", ", ".join(f"{mm:.3f}" for mm in sequence.ijk_to_ras[:3, 3]) + " mm (RAS)")
    if len(sequence) > 1:
        first, last, dt = sequence.times_ms[0], sequence.times_ms[-1], sequence.grid.frame_duration_ms
        table.add_row("Time", f"{first:.1f} … {last:.1f} ms, dt {dt:.1f} ms")
    table.add_row("Cycle", "yes: the last frame is followed by the first" if sequence.periodic else "no")
    magnitude = sequence.magnitude()
    table.add_row("Intensity", f"{magnitude.min():g} … {magnitude.max():g}")
    for name, value in sorted(sequence.attributes.items()):
        if name.startswith("STEnhance."):
            table.add_row(_plain(name.removeprefix("STEnhance.")), _plain(value))
    out.print(table)
    show_notes((*sequence.notes, *measured.notes))


def show_methods(methods: list[Method]) -> None:
    """All methods by task."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Method", "What it does", "Needs"):
        table.add_column(heading, no_wrap=heading == "Method")
    task = None
    for method in methods:
        if method.task is not task:
            task = method.task
            table.add_section()
            table.add_row(f"[bold]{task.value.capitalize()}[/]", "", "")
        missing = method.missing_packages()
        taken = [need.value for need in method.needs] + [f"{need.value} (optional)" for need in method.uses]
        needs = ", ".join([*taken, *method.requires]) or "nothing"
        absent = f" [red]({', '.join(missing)} not installed)[/]" if missing else ""
        table.add_row(f"  {method.key}", method.summary, needs + absent)
    out.print(table)
    out.print("`stenhance methods KEY` shows the parameters and models of one.", markup=False)


def show_method(method: Method) -> None:
    """One method with its source, its parameters, and the cards of the models that it can compute with."""
    out.print(f"[bold]{method.title}[/] ({method.key}, {method.task.value})")
    out.print(method.summary, markup=False)
    out.print(f"Source: {method.reference}", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("--set", "Default", "Range", "Meaning"):
        table.add_column(heading)
    for field in dataclasses.fields(method.parameters):
        limits = field.metadata
        low, high = limits["minimum"], limits["maximum"]
        span = ", ".join(map(str, limits["choices"] or ()))
        if low is not None or high is not None:
            span = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} … {high}"
        table.add_row(field.name, str(field.default), f"{span} {limits['unit']}".strip(), limits["help"])
    out.print(table)
    for name in models.alike(method.models):
        _show_model(name)


def _show_model(name: str) -> None:
    from rich.markdown import Markdown  # takes a tenth of a second, which only a card is worth

    try:
        model = models.find_model(name)
    except STEnhanceError as error:
        out.print(str(error), style="red", markup=False, soft_wrap=True)
        return
    out.rule(_plain(f"Model {name}"))
    out.print(Markdown(model.card()))
    out.print(f"\nIn {model.folder}", markup=False, soft_wrap=True)


def show_scores(rows: list[tuple[str, Scores]], title: str) -> None:
    """Metrics of sequences, by their names."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(_plain(title), overflow="fold", min_width=30)
    parts = {"": "whole", "heart ": "box"} if rows[0][1].box is not None else {"": "whole"}
    for prefix in parts:
        table.add_column(prefix + "PSNR", justify="right")
        table.add_column(prefix + "SSIM", justify="right")
    for name, scores in rows:
        means = [getattr(scores, part).means() for part in parts.values()]
        table.add_row(
            _plain(name), *(text for mean in means for text in (_decibels(mean["psnr"]), f"{mean['ssim']:.4f}"))
        )
    out.print(table)
    for name, scores in rows:
        if said := identical_words(name, scores.whole.identical, len(scores.frames)):
            out.print(said, markup=False)


def _decibels(psnr: float) -> str:
    return "identical" if math.isinf(psnr) else f"{psnr:.2f} dB"


@contextlib.contextmanager
def frame_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with frame k/N and the time left; yields a function of (finished, total).

    Until a frame comes, the title is followed by what the method tells of itself.
    """
    with _bar() as bar:
        job = bar.add_task(title, total=None)
        with progress.heard_by(lambda text, _share: bar.update(job, description=f"{title}: {text}")):
            yield lambda done, total: bar.update(job, completed=done, total=total, description=title)


@contextlib.contextmanager
def steps_progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar over steps that have names; yields a function of (finished, total, what runs now)."""
    with _bar() as bar:
        job = bar.add_task(title, total=None)
        yield lambda done, total, now: bar.update(job, completed=done, total=total, description=f"{title}: {now}")


def _bar() -> Progress:
    left = TimeRemainingColumn(elapsed_when_finished=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        left,
    )
    return Progress(*columns, console=err, disable=not err.is_terminal)  # else it leaves an empty line in a log


def _plain(text: str) -> Text:
    """What others wrote, as it stands: no brackets that mean bold or a link, nothing that steers the terminal."""
    return Text("".join(letter if letter.isprintable() else " " for letter in text))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
