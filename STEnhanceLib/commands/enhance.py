"""`stenhance enhance`: a sequence in, a better one out."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from STEnhanceLib import device, given
from STEnhanceLib.commands import inputs, terminal
from STEnhanceLib.commands.compare import show_scores, write_page
from STEnhanceLib.errors import STEnhanceError

HELP = "enhance a sequence with one method"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Input, output, the method with its settings, and what to show of the result."""
    inputs.add_input(parser, "input")
    parser.add_argument("output", type=Path, metavar="OUT", help=".seq.nrrd, .nrrd, .nii, .nii.gz or .mrb")
    parser.add_argument("--method", required=True, metavar="KEY", help="see `stenhance methods`")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the method; may be repeated"
    )
    parser.add_argument(
        "--prior", type=Path, metavar="FILE", help="a static planning scan, for methods that need or use it"
    )
    parser.add_argument(
        "--kspace", type=Path, metavar="FILE", help="the measurement (.npz, ISMRMRD .h5), if it is not the input itself"
    )
    parser.add_argument("--device", choices=device.CHOICES, default=device.CHOICES[0], help="where torch computes")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the truth, to measure the result against")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page that shows input and result")
    parser.add_argument("--removed", type=Path, metavar="FILE", help="write input minus result, where grids agree")


def run(options: argparse.Namespace) -> None:
    """Refuse what cannot succeed before anything is computed; then enhance, write, measure and show."""
    import numpy as np

    from STEnhanceLib import files
    from STEnhanceLib.commands.kept_maps import KeptMaps
    from STEnhanceLib.evaluation.removed import removed
    from STEnhanceLib.methods import find_method, parse_parameters
    from STEnhanceLib.methods.declaration import UNSUPPORTED
    from STEnhanceLib.methods.run import announcement, enhance_all
    from STEnhanceLib.sequence import ImageSequence

    given_files = [options.input, options.reference, options.prior, options.kspace]
    inputs.refuse_overwriting(given_files, [options.output, options.removed, options.report])
    _refuse_unwritable(options)
    device.choose(options.device)
    method = find_method(options.method)
    parameters = parse_parameters(method, dict(_name_and_value(text) for text in options.set))
    for name in sorted({"prior", "kspace"} - {need.value for need in method.takes}):
        if getattr(options, name):
            raise STEnhanceError(f"{method.key} does not use a {name}; leave --{name} out, or pick a method that does.")
    kspace = given.measurement(options.input, options.kspace)
    sequence = inputs.read_input(options.input, options, kspace, getattr(parameters, "delays", True))
    reference, prior = inputs.read_if_given(options.reference), inputs.read_if_given(options.prior)
    if options.removed or (options.report and reference is not None):
        planned = announcement(method, sequence.grid, parameters, has_kspace=kspace is not None).grid
        _refuse_other_grids(options, sequence.grid, planned, reference)
    fractions, maps = [], KeptMaps(options.output)

    def plan(enhancement) -> None:
        for path in filter(None, (options.output, options.removed)):
            files.refuse_grid(enhancement.grid, path)
        maps.plan(enhancement)
        inputs.refuse_overwriting([*given_files, options.output, options.removed], list(maps.paths.values()))

    def keep(fraction) -> None:
        if options.report and UNSUPPORTED not in maps.values:
            fractions.append(fraction)

    with terminal.frame_progress(method.title) as on_frame:
        result = enhance_all(
            method, sequence, parameters, on_frame,
            on_unsupported=keep, on_planned=plan, on_maps=maps.keep, prior=prior, kspace=kspace,
        )  # fmt: skip
    result = dataclasses.replace(result, attributes={**result.attributes, **maps.attributes()})
    _write_result(options.output, sequence, result, reference, maps)
    if options.removed:
        files.write(removed(sequence, result), options.removed)
        terminal.say_written(options.removed)
    terminal.show_notes((*result.notes, *maps.notes))
    if reference is not None:
        show_scores(sequence, [result], reference)
    if options.report:
        fractions = maps.values.get(UNSUPPORTED, fractions)
        has_map = all(np.ndim(fraction) for fraction in fractions)
        unsupported = ImageSequence.from_frames(fractions, result.grid) if has_map else None
        pictured = [maps.pictured(result)]
        write_page(options.report, sequence, result, reference, unsupported=[unsupported], maps=pictured)


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


def _refuse_other_grids(options: argparse.Namespace, given_grid, planned, reference) -> None:
    """Stop before anything is computed for what could not be subtracted or measured."""
    from STEnhanceLib.evaluation import metrics, removed

    if options.removed:
        removed.check_grid(given_grid, planned)
    if options.report and reference is not None:
        metrics.check_same_grid(planned, reference.grid)


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


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise STEnhanceError(f"--set {text} was given; expected --set NAME=VALUE, for example --set factor=4.")
    return name.strip(), value.strip()
