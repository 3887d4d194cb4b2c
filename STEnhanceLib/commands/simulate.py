"""`stenhance simulate`: what a faster scan would have given."""

from __future__ import annotations

import argparse
from pathlib import Path

from STEnhanceLib.commands import inputs, terminal
from STEnhanceLib.errors import STEnhanceError

HELP = "make a degraded copy of a good sequence"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Input, output and acquisition."""
    inputs.add_input(parser, "input")
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--acquisition", required=True, metavar="KEY", help="s2, s4, k10, z4, r13, c8, t2 …")
    parser.add_argument("--keep-kspace", type=Path, metavar="FILE.npz", help="also write the simulated k-space")
    parser.add_argument("--seed", type=int, default=0, help="of noise and phase")


def run(options: argparse.Namespace) -> None:
    """Read, degrade and write, with the k-space where it is to be kept."""
    from STEnhanceLib import files
    from STEnhanceLib.acquisition.simulate import simulate

    inputs.refuse_overwriting([options.input], [options.output, options.keep_kspace])
    files.refuse_unwritable(options.output)
    if options.keep_kspace:
        files.refuse_unwritable(options.keep_kspace, ".npz")
    simulation = simulate(inputs.read_input(options.input, options), options.acquisition, seed=options.seed)
    if options.keep_kspace and simulation.kspace is None:
        raise STEnhanceError(
            f"{options.acquisition} has no k-space to keep; leave --keep-kspace out, or simulate r13, r13d, r26, c4, "
            "c8 or h4."
        )
    files.write(simulation.sequence, options.output)
    terminal.say_written(options.output)
    if options.keep_kspace:
        simulation.kspace.save(options.keep_kspace)
        terminal.say_written(options.keep_kspace)
    terminal.show_notes(simulation.sequence.notes)
