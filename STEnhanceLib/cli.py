"""The command `stenhance`: everything the library does, without Slicer."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import STEnhanceLib
from STEnhanceLib import device, given, terminal
from STEnhanceLib.assumed import without_doubts
from STEnhanceLib.errors import STEnhanceError

logger = logging.getLogger(__name__)

DONE, USER_ERROR, FAULT, INTERRUPTED = 0, 1, 3, 130  # exit codes; argparse itself ends with 2 on wrong usage


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A user error is one sentence on stderr and never a traceback."""
    options = _parser().parse_args(arguments)
    terminal.start_logging(options.verbose)
    try:
        options.command(options)
    except STEnhanceError as error:
        terminal.complain(str(error))
        return USER_ERROR
    except MemoryError:
        terminal.complain("Out of memory. Close other programs, or work on fewer slices or frames at a time.")
        return USER_ERROR
    except OSError as error:
        terminal.complain(f"{error.strerror or error}: {error.filename or 'no file named'}.")
        return USER_ERROR
    except KeyboardInterrupt:
        terminal.complain("Interrupted.")
        return INTERRUPTED
    except Exception as error:
        logger.debug("Unexpected fault", exc_info=True)
        terminal.complain(f"Unexpected fault, please report it: {error!r}. Add --verbose for the traceback.")
        return FAULT
    return DONE


def _parser() -> argparse.ArgumentParser:  # noqa: PLR0915  (one statement per option reads best)
    parser = argparse.ArgumentParser(prog="stenhance", description=(STEnhanceLib.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"stenhance {STEnhanceLib.__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens, with tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, name: str, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=function)
        return added

    listing = command(_methods, "methods", "list the methods by task, with what they need")
    listing.add_argument("key", nargs="?", help="show this method, its parameters and its models")

    info = command(_info, "info", "geometry, frames, times, and what had to be assumed")
    _add_input(info, "file")

    simulation = command(_simulate, "simulate", "make a degraded copy of a good sequence")
    _add_input(simulation, "input")
    simulation.add_argument("output", type=Path, metavar="OUT")
    simulation.add_argument("--acquisition", required=True, metavar="KEY", help="s2, s4, k10, z4, r13, c8, t2 …")
    simulation.add_argument("--keep-kspace", type=Path, metavar="FILE.npz", help="also write the simulated k-space")
    simulation.add_argument("--seed", type=int, default=0, help="of noise and phase")

    enhancement = command(_enhance, "enhance", "enhance a sequence with one method")
    _add_input(enhancement, "input")
    enhancement.add_argument("output", type=Path, metavar="OUT", help=".seq.nrrd, .nrrd, .nii, .nii.gz or .mrb")
    enhancement.add_argument("--method", required=True, metavar="KEY", help="see `stenhance methods`")
    enhancement.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the method; may be repeated"
    )
    enhancement.add_argument(
        "--prior", type=Path, metavar="FILE", help="a static planning scan, for methods that need or use it"
    )
    enhancement.add_argument(
        "--kspace", type=Path, metavar="FILE", help="the measurement (.npz, ISMRMRD .h5), if it is not the input itself"
    )
    enhancement.add_argument("--device", choices=device.CHOICES, default=device.CHOICES[0], help="where torch computes")
    enhancement.add_argument("--reference", type=Path, metavar="FILE", help="the truth, to measure the result against")
    enhancement.add_argument("--report", type=Path, metavar="DIR", help="write a page that shows input and result")

    enhancement.add_argument("--removed", type=Path, metavar="FILE", help="write input minus result, where grids agree")

    comparison = command(_compare, "compare", "compare two sequences as one HTML page")
    comparison.add_argument("before", type=Path, metavar="A")
    comparison.add_argument("after", type=Path, metavar="B")
    comparison.add_argument("--reference", type=Path, metavar="R", help="the truth, to measure both against")
    comparison.add_argument("--report", type=Path, required=True, metavar="DIR")

    benchmark = command(_benchmark, "benchmark", "measure methods on real cines and phantoms by the strict protocols")
    benchmark.add_argument("protocols", metavar="PROTOCOL[,PROTOCOL…]", help="s2, s4, k10, z4, r13, c8, t2, t4, t6 …")
    benchmark.add_argument("--data", type=Path, metavar="DIR", help="folder of 4D files")
    benchmark.add_argument("--phantoms", metavar="KEY[,KEY…]", help="knee, breathing: beside the folder or without one")
    benchmark.add_argument(
        "--methods",
        default="baselines",
        help="keys with commas, `baselines` or `all`; settings in brackets, quoted: 'KEY[NAME=VALUE;NAME=VALUE]'; "
        "prior=none there withholds the prior of k10, k6 and k4",
    )
    benchmark.add_argument("--cases", help="file stems with commas; all of the folder by default")
    benchmark.add_argument("--slices", type=int, metavar="N", help="only the N middle slices of every stack")
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the records")
    benchmark.add_argument("--curves", type=Path, metavar="DIR", help="write the PSNR of every frame as PNG and JSON")
    benchmark.add_argument(
        "--stream", action="store_true", help="clock real-time use on the middle slice: frames per second and latency"
    )

    training = command(_train, "train", "make a model by its recipe (needs the `train` extra)")
    training.add_argument("recipe", metavar="RECIPE", help="name of the model; an unknown one lists all")
    training.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of 4D files and .npz stills")
    training.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets the model and its checkpoints")
    training.add_argument("--steps", type=int, metavar="N", help="a shorter or longer schedule than the recipe's")
    training.add_argument("--seed", type=int, default=0, help="of weights and batches")
    training.add_argument("--licence", default="not stated", metavar="TEXT", help="of the data, for the model card")
    training.add_argument("--device", choices=device.CHOICES, default=device.CHOICES[0], help="where torch computes")

    demo = command(_demo, "demo", "the main job, end to end, on a sequence it makes itself")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    return parser


def _add_input(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(name, type=Path, metavar="IN", help=".seq.nrrd, .nrrd, 4D .nii or .nii.gz, or a DICOM folder")
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder, by number or UID")
    parser.add_argument(
        "--periodic", action=argparse.BooleanOptionalAction, help="the last frame is followed by the first (a cycle)"
    )


def _read(path: Path, options: argparse.Namespace | None = None, kspace=None):
    if options is None:
        return given.images(path)
    sequence = given.images(path, options.series, kspace)
    if options.periodic is not None:
        notes = without_doubts(sequence.notes, cycle=True)
        sequence = dataclasses.replace(sequence, periodic=options.periodic, notes=notes)
    return sequence


def _refuse_overwriting(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Stop before anything is computed when a result would replace a file that was given, or another result."""
    taken = [path for path in inputs if path is not None]
    for path in filter(None, outputs):
        for other in taken:
            if _same_place(path, other):
                raise STEnhanceError(f"{path} would replace {other}; expected another name. Write to a new file.")
        taken.append(path)


def _same_place(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:  # one of them is not there yet
        return a.resolve() == b.resolve()


def _methods(options: argparse.Namespace) -> None:
    from STEnhanceLib.methods import all_methods, find_method

    if options.key:
        terminal.show_method(find_method(options.key))
    else:
        terminal.show_methods(list(all_methods().values()))


def _info(options: argparse.Namespace) -> None:
    terminal.show_sequence(_read(options.file, options))


def _simulate(options: argparse.Namespace) -> None:
    from STEnhanceLib import files
    from STEnhanceLib.acquisition.simulate import simulate

    _refuse_overwriting([options.input], [options.output, options.keep_kspace])
    files.refuse_unwritable(options.output)
    if options.keep_kspace:
        files.refuse_unwritable(options.keep_kspace, ".npz")
    simulation = simulate(_read(options.input, options), options.acquisition, seed=options.seed)
    if options.keep_kspace and simulation.kspace is None:
        raise STEnhanceError(
            f"{options.acquisition} has no k-space to keep; leave --keep-kspace out, or simulate r13, r26, c4, c8 or "
            "h4."
        )
    files.write(simulation.sequence, options.output)
    terminal.say_written(options.output)
    if options.keep_kspace:
        simulation.kspace.save(options.keep_kspace)
        terminal.say_written(options.keep_kspace)
    terminal.show_notes(simulation.sequence.notes)


def _enhance(options: argparse.Namespace) -> None:
    import numpy as np

    from STEnhanceLib import files
    from STEnhanceLib.evaluation import metrics, removed
    from STEnhanceLib.kept_maps import KeptMaps
    from STEnhanceLib.methods import find_method, parse_parameters
    from STEnhanceLib.methods.declaration import UNSUPPORTED
    from STEnhanceLib.methods.run import announcement, enhance_all
    from STEnhanceLib.sequence import ImageSequence

    given_files = [options.input, options.reference, options.prior, options.kspace]
    _refuse_overwriting(given_files, [options.output, options.removed, options.report])
    _refuse_unwritable(options)
    device.choose(options.device)
    method = find_method(options.method)
    parameters = parse_parameters(method, dict(_name_and_value(text) for text in options.set))
    for name in {"prior", "kspace"} - {need.value for need in method.takes}:
        if getattr(options, name):
            raise STEnhanceError(f"{method.key} does not use a {name}; leave --{name} out, or pick a method that does.")
    kspace = given.measurement(options.input, options.kspace)
    sequence = _read(options.input, options, kspace)
    reference = _read(options.reference) if options.reference else None
    inputs = {"prior": _read(options.prior) if options.prior else None, "kspace": kspace}
    measured_on_page = options.report and reference is not None
    if options.removed or measured_on_page:
        planned = announcement(method, sequence.grid, parameters, has_kspace=kspace is not None).grid
        if options.removed:
            removed.check_grid(sequence.grid, planned)
        if measured_on_page:
            metrics.check_same_grid(planned, reference.grid)
    fractions, maps = [], KeptMaps(options.output)

    def plan(enhancement) -> None:
        maps.plan(enhancement)
        _refuse_overwriting([*given_files, options.output, options.removed], list(maps.paths.values()))

    def keep(fraction) -> None:
        if options.report and UNSUPPORTED not in maps.values:
            fractions.append(fraction)

    with terminal.frame_progress(method.title) as on_frame:
        result = enhance_all(
            method, sequence, parameters, on_frame,
            on_unsupported=keep, on_planned=plan, on_maps=maps.keep, **inputs,
        )  # fmt: skip
    result = dataclasses.replace(result, attributes={**result.attributes, **maps.attributes()})
    _write_result(options.output, sequence, result, reference, maps)
    if options.removed:
        files.write(removed.removed(sequence, result), options.removed)
        terminal.say_written(options.removed)
    terminal.show_notes((*result.notes, *maps.notes))
    if reference is not None:
        _show_scores(sequence, [result], reference)
    if options.report:
        fractions = maps.values.get(UNSUPPORTED, fractions)
        has_map = all(np.ndim(fraction) for fraction in fractions)
        unsupported = ImageSequence.from_frames(fractions, result.grid) if has_map else None
        beside = {"unsupported": [unsupported], "maps": [maps.pictured(result)]}
        _report(options.report, sequence, result, reference, beside)


def _refuse_unwritable(options: argparse.Namespace) -> None:
    """Stop before anything is computed for what could not be written."""
    from STEnhanceLib import files, headless
    from STEnhanceLib.evaluation import report

    is_scene = options.output.suffix == ".mrb"
    files.refuse_unwritable(options.output, ".mrb" if is_scene else None)
    if options.removed:
        files.refuse_unwritable(options.removed)
    if options.report:
        report.refuse_unwritable(options.report)
    if is_scene:
        headless.mrml_libraries()


def _write_result(path: Path, sequence, result, reference, maps) -> None:
    from STEnhanceLib import files

    if path.suffix == ".mrb":
        from STEnhanceLib.comparison import save_comparison

        save_comparison(path, sequence, result, reference, maps.values)
    else:
        beside = {where: maps.sequence(side_map, result) for side_map, where in maps.paths.items()}
        files.write_together({path: result, **beside})
    for written in (path, *maps.paths.values()):
        terminal.say_written(written)


def _compare(options: argparse.Namespace) -> None:
    before, after = _read(options.before), _read(options.after)
    reference = _read(options.reference) if options.reference else None
    if reference is not None:
        _show_scores(before, [before, after], reference)
    _report(options.report, before, after, reference)


def _show_scores(before, results, reference) -> None:
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


def _report(folder: Path, before, after, reference, beside=None) -> None:
    from STEnhanceLib.evaluation.report import Comparison, write_report

    title = f"{before.name} → {after.name}"
    compared = Comparison(title, before, [after], reference, **(beside or {}))
    terminal.say_written(write_report(folder, [compared], title=title))


def _benchmark(options: argparse.Namespace) -> None:
    from STEnhanceLib import files
    from STEnhanceLib.evaluation import benchmark, drift, streaming
    from STEnhanceLib.evaluation.contestants import split_words

    _refuse_overwriting(list(options.data.glob("*")) if options.data else [], [options.json])
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


def _train(options: argparse.Namespace) -> None:
    try:
        import torch

        from STEnhanceLib.training import making
        from STEnhanceLib.training.recipe import find_recipe
    except ImportError as error:
        raise STEnhanceError(f"Training needs {error.name}; install with `pip install stenhance[train]`.") from None
    if not hasattr(torch.optim, "Muon"):
        raise STEnhanceError(
            f"Training needs torch 2.9 or newer, for its Muon optimizer; found {torch.__version__}. Install it with "
            "`pip install stenhance[train]`."
        )
    recipe = find_recipe(options.recipe)
    if options.steps is not None and options.steps < 1:
        raise STEnhanceError(f"--steps {options.steps} was given; expected at least 1.")
    making.check_folder(recipe, options.out)
    device.choose(options.device)
    with terminal.steps_progress(recipe.title) as on_step:
        model = making.make(
            recipe, options.data, options.out,
            device=torch.device(device.chosen()), steps=options.steps, seed=options.seed, licence=options.licence,
            on_step=on_step,
        )  # fmt: skip
    terminal.say_written(model.folder)


def _demo(options: argparse.Namespace) -> None:
    from STEnhanceLib.demo import run_demo

    run_demo(options.out)


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise STEnhanceError(f"--set {text} was given; expected --set NAME=VALUE, for example --set factor=4.")
    return name.strip(), value.strip()


if __name__ == "__main__":
    sys.exit(main())
