"""`stenhance demo`; what it runs is imported only then: `demo_chapters`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the main job, end to end, on a sequence it makes itself"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the page, the scene and the picture go."""
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")


def run(options: argparse.Namespace) -> None:
    """Run all chapters."""
    from STEnhanceLib.commands.demo_chapters import run_demo

    run_demo(options.out)
