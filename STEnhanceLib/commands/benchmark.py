"""`stenhance benchmark`: methods in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

from STEnhanceLib.commands import inputs, terminal
from STEnhanceLib.errors import STEnhanceError

HELP = "measure methods on real cines and phantoms by the strict protocols"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Protocols, cases, methods, and where the numbers go."""
    parser.add_argument("protocols", metavar="PROTOCOL[,PROTOCOL…]", help="s2, s4, k10, z4, r13, c8, t2, t4, t6 …")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of 4D files")
    parser.add_argument("--phantoms", metavar="KEY[,KEY…]", help="knee, breathing: beside the folder or without one")
    parser.add_argument(
        "--methods",
        default="baselines",
        help="keys with commas, `baselines` or `all`; settings in brackets, quoted: 'KEY[NAME=VALUE;NAME=VALUE]'; "
        "prior=none there withholds the prior of k10, k6 and k4",
    )
    parser.add_argument("--cases", help="file stems with commas; all of the folder by default")
    parser.add_argument("--slices", type=int, metavar="N", help="only the N middle slices of every stack")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records")
    parser.add_argument("--curves", type=Path, metavar="DIR", help="write the PSNR of every frame as PNG and JSON")
    parser.add_argument(
        "--stream", action="store_true", help="clock real-time use on the middle slice: frames per second and latency"
    )


def run(options: argparse.Namespace) -> None:
    """Measure, print the tables, and write records and curves."""
    from STEnhanceLib import files
    from STEnhanceLib.evaluation import benchmark, drift, streaming
    from STEnhanceLib.evaluation.contestants import split_words

    inputs.refuse_overwriting(list(options.data.glob("*")) if options.data else [], [options.json])
    if options.stream and options.curves:
        raise STEnhanceError("--stream scores nothing, so --curves has nothing to draw; leave one of them out.")
    if options.json:
        files.refuse_unwritable(options.json, "")
    if options.curves:
        options.curves.mkdir(parents=True, exist_ok=True)  # rather refused now than after hours
    asked = {
        "protocols": options.protocols.split(","),
        "data_dir": options.data,
        "methods": split_words(options.methods),
        "slices": options.slices,
        "cases": options.cases.split(",") if options.cases else None,
        "phantoms": options.phantoms.split(",") if options.phantoms else (),
    }
    curves: list[drift.Curve] = []
    with terminal.steps_progress("Benchmark") as on_step:
        if options.stream:
            records = streaming.run(**asked, on_step=on_step)
        else:
            records = benchmark.run(**asked, on_step=on_step, on_curve=curves.append)
    print(streaming.to_markdown(records) if options.stream else benchmark.to_markdown(records))
    if options.json:
        benchmark.write_json(records, options.json)
        terminal.say_written(options.json)
    if options.curves:
        for path in drift.write_curves(curves, options.curves):
            terminal.say_written(path)
