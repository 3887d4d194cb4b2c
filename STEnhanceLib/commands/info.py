"""`stenhance info`: what a file holds."""

from __future__ import annotations

import argparse

from STEnhanceLib.commands import inputs, terminal

HELP = "geometry, frames, times, and what had to be assumed"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The file."""
    inputs.add_input(parser, "file")


def run(options: argparse.Namespace) -> None:
    """Read and tell."""
    terminal.show_sequence(inputs.read_input(options.file, options))
