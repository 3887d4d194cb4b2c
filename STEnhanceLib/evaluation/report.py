"""Writes comparisons as one self-contained HTML page: moving pictures, profiles, metrics, and where all came from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import STEnhanceLib
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.comparison import Comparison
from STEnhanceLib.evaluation.panes import make_viewer
from STEnhanceLib.evaluation.sections import section
from STEnhanceLib.files.replace import refuse_irregular, replaced_when_complete, try_to_write_into
from STEnhanceLib.methods.run import NOT_FOR_CLINICAL_USE

__all__ = ["Comparison", "write_report"]

PICTURE_BYTES = 7_000_000  # for all comparisons together: the page stays small enough for a mail
_GENERATOR = "STEnhance"  # how a page says who wrote it
_HEAD_LENGTH = 10_000  # characters of a page among which it says so


def write_report(
    folder: Path, comparisons: Sequence[Comparison], title: str = "Comparison of image sequences", subtitle: str = ""
) -> Path:
    """Write `index.html` into a folder, made if need be; an earlier report is replaced as a whole or not at all.

    Args:
        comparisons: one section each.
        subtitle: a sentence below the title.

    Returns:
        the path of the page.

    Raises:
        STEnhanceError: nothing to compare, sequences that do not lie on one another, the folder cannot be written, or
            it holds an `index.html` that is no report.
    """
    refuse_unwritable(folder)
    if not comparisons:
        raise STEnhanceError("A report of nothing was asked for; expected at least one comparison.")
    budget = PICTURE_BYTES // len(comparisons)
    sections, data = [], []
    for number, comparison in enumerate(comparisons, start=1):
        comparison.scores  # noqa: B018  refuses what does not match before any picture is drawn
        viewer = make_viewer(comparison, budget)
        sections.append(section(number, comparison, viewer, alone=len(comparisons) == 1))
        data.append(viewer.data)
    page = Template(_asset("page.html")).substitute(
        title=escape(title),
        generator=f"{_GENERATOR} {escape(STEnhanceLib.__version__)}",
        subtitle=f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else "",
        notice=escape(NOT_FOR_CLINICAL_USE),
        contents=_contents(comparisons),
        sections="\n".join(sections),
        made=f"STEnhance {escape(STEnhanceLib.__version__)}, {datetime.date.today():%d %B %Y}",
        style=_asset("page.css"),
        data=_json(data),
        script=_asset("page.js"),
    )
    return _write_whole(Path(folder) / "index.html", page)


def refuse_unwritable(folder: Path) -> None:
    """Stop before anything is computed for a page that could not be written, and keep one that somebody else wrote.

    Raises:
        STEnhanceError: the folder is a file or cannot be written, or holds an `index.html` that `write_report` did
            not write.
    """
    page = Path(folder) / "index.html"
    there = next(place for place in (page.parent, *page.parent.resolve().parents) if place.exists())
    if not there.is_dir():
        raise STEnhanceError(f"The report cannot be written to {page}, since {there} is a file. Choose another folder.")
    try:
        try_to_write_into(page.parent)
        refuse_irregular(page)
    except OSError as error:
        raise _unwritable(page, error) from None
    except STEnhanceError as error:
        raise STEnhanceError(f"The report cannot be written to {page}: {error}") from None
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            is_ours = f'<meta name="generator" content="{_GENERATOR} ' in file.read(_HEAD_LENGTH)
    except OSError:
        return  # none is there; or writing will tell what is wrong
    if not is_ours:
        raise STEnhanceError(f"{page} is there and was not written by STEnhance; choose another folder for the report.")


def _contents(comparisons: Sequence[Comparison]) -> str:
    if len(comparisons) == 1:
        return ""
    links = (f'<a href="#c{n}"><b>{n}</b> {escape(c.title)}</a>' for n, c in enumerate(comparisons, start=1))
    return f'<nav aria-label="Comparisons">{"".join(links)}</nav>'


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _json(data) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _write_whole(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_when_complete(path) as stream:
            stream.write(text.encode())
    except STEnhanceError as error:
        raise STEnhanceError(f"The report cannot be written to {path}: {error}") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def _unwritable(path: Path, error: OSError) -> STEnhanceError:
    return STEnhanceError(
        f"The report cannot be written to {path} ({error.strerror or error}); expected a writable folder with space. "
        "Choose another folder."
    )
