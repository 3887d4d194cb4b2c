"""`stenhance compare`: two sequences on one page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from STEnhanceLib.commands import inputs, terminal
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

HELP = "compare two sequences as one HTML page"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to compare, and where the page goes."""
    parser.add_argument("before", type=Path, metavar="A")
    parser.add_argument("after", type=Path, metavar="B")
    parser.add_argument("--reference", type=Path, metavar="R", help="the truth, to measure both against")
    parser.add_argument("--report", type=Path, required=True, metavar="DIR")


def run(options: argparse.Namespace) -> None:
    """Measure both where there is a reference, and write the page."""
    before, after = inputs.read_if_given(options.before), inputs.read_if_given(options.after)
    reference = inputs.read_if_given(options.reference)
    if reference is not None:
        show_scores(before, [before, after], reference)
    write_page(options.report, before, after, reference)


def show_scores(before: ImageSequence, results: Sequence[ImageSequence], reference: ImageSequence) -> None:
    """Over the frames that count on the page, too: copying what was measured is no merit."""
    from STEnhanceLib.evaluation.comparison import Comparison
    from STEnhanceLib.evaluation.metrics import score

    counted = Comparison("", before, results[-1:], reference).scored_frames
    lacking = f", over the {len(counted)} frames that the input lacks" if len(counted) < len(reference) else ""
    rows = []
    for result in results:
        try:
            rows.append((result.name, score(result, reference, frames=counted)))
        except STEnhanceError as error:
            terminal.show_notes((f"{result.name} was not measured. {error}",))
    terminal.show_scores(rows, f"Against the reference{lacking}")


def write_page(
    folder: Path, before: ImageSequence, after: ImageSequence, reference: ImageSequence | None, **beside
) -> None:
    """The page of a comparison; `beside` is what else it shows, by the names of `Comparison`."""
    from STEnhanceLib.evaluation.report import Comparison, write_report

    title = f"{before.name} → {after.name}"
    compared = Comparison(title, before, [after], reference, **beside)
    terminal.say_written(write_report(folder, [compared], title=title))
