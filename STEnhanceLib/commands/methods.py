"""`stenhance methods`: what there is to enhance with."""

from __future__ import annotations

import argparse

from STEnhanceLib.commands import terminal

HELP = "list the methods by task, with what they need"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which of them."""
    parser.add_argument("key", nargs="?", help="show this method, its parameters and its models")


def run(options: argparse.Namespace) -> None:
    """Print all, or one in full."""
    from STEnhanceLib.methods import all_methods, find_method

    if options.key:
        terminal.show_method(find_method(options.key))
    else:
        terminal.show_methods(list(all_methods().values()))
