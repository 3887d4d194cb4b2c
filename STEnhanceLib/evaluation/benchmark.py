"""The benchmark: every method on every case under every protocol, always beside the baselines of the task."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import STEnhanceLib
from STEnhanceLib import files
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.measured_run import measured_run
from STEnhanceLib.evaluation.protocols import Protocol, Trial, find_protocol, middle_slices
from STEnhanceLib.evaluation.records import Record, to_markdown, write_json
from STEnhanceLib.methods import Method, Task, all_methods, find_method
from STEnhanceLib.sequence import ImageSequence

__all__ = ["CUBIC_ALONG_SLICES", "TRAP", "Record", "run", "to_markdown", "write_json"]

logger = logging.getLogger(__name__)

TRAP = "bicubic-half-pixel (trap)"
CUBIC_ALONG_SLICES = "cubic along slices"
BASELINES, ALL = "baselines", "all"
ENDINGS = (".seq.nrrd", ".nrrd", ".nii.gz", ".nii")


class _Case(NamedTuple):
    name: str
    path: Path
    facts: dict[str, Any]  # of cine.json


def run(
    protocols: Sequence[str],
    data_dir: Path | str,
    methods: Sequence[str] = (BASELINES,),
    *,
    slices: int | None = None,
    cases: Sequence[str] | None = None,
    on_step: Callable[[int, int, str], None] = lambda done, total, now: None,
) -> list[Record]:
    """Measure methods on real sequences. One that fails leaves a record that says why, and the others go on.

    Args:
        protocols: keys, see `protocols.PROTOCOLS`.
        data_dir: folder of 4D files; its `cine.json`, if any, gives `heart_centre_xy` and `end_systole_frame` by stem.
        methods: keys, `baselines` or `all`. The baselines of a protocol's task always run; methods of other tasks are
            left out.
        slices: only the middle ones, so many; by default what the protocol says.
        cases: file stems; by default all.
        on_step: called with the number of finished runs, their total, and what runs now.

    Returns:
        records in the order of `protocols`, then of cases, then as menus show methods.

    Raises:
        STEnhanceError: unknown protocol, method or case, or no data.
    """
    chosen = [find_protocol(key) for key in dict.fromkeys(protocols)]
    contestants = {task: _contestants(task, methods) for task in Task}
    found = _find_cases(Path(data_dir), cases)
    total = len(found) * sum(len(contestants[protocol.task]) for protocol in chosen)
    records: list[Record] = []
    done = 0
    for case in found:
        good, fault = _or_fault(files.read, case.path)
        scale = metrics.intensity_scale(good) if good else 0.0
        for protocol in chosen:
            trial, fault = _or_fault(_spoil, protocol, good, case, slices) if good else (None, fault)
            for method in contestants[protocol.task]:
                on_step(done, total, f"{protocol.key} {case.name} {method.key}")
                label = " + ".join([method.key, *(key for key, _ in trial.follow_up)]) if trial else method.key
                row = Record(protocol.key, case.name, label, version=STEnhanceLib.__version__)
                records.append(_compete(row, method, trial, case, scale) if trial else replace(row, error=fault))
                done += 1
            if trial:
                records += _reference_rows(protocol, trial, case, scale)
    on_step(done, total, "done")
    return sorted(records, key=lambda record: [protocol.key for protocol in chosen].index(record.protocol))


def _contestants(task: Task, words: Sequence[str]) -> list[Method]:
    """The baselines of a task and whatever else was asked for, in the order of menus."""
    wanted = {find_method(word).key for word in words if word not in (BASELINES, ALL)}
    return [
        method
        for method in all_methods().values()
        if method.task is task and (method.baseline or method.key in wanted or ALL in words)
    ]


def _find_cases(folder: Path, names: Sequence[str] | None) -> list[_Case]:
    paths = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
        if ending:
            paths[path.name[: -len(ending)]] = path
    if not paths:
        raise STEnhanceError(f"{folder} holds no 4D file; expected a folder with files ending in {', '.join(ENDINGS)}.")
    missing = [name for name in names or () if name not in paths]
    if missing:
        raise STEnhanceError(f"There is no case {missing[0]!r} in {folder}; there are: {', '.join(paths)}.")
    facts = _read_facts(folder / "cine.json")
    return [_Case(name, path, facts.get(name, {})) for name, path in paths.items() if not names or name in names]


def _read_facts(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise STEnhanceError(f"{path} is not valid JSON ({error}); correct it or remove it.") from None
    if not isinstance(facts, dict) or not all(isinstance(of_case, dict) for of_case in facts.values()):
        raise STEnhanceError(f"{path} was expected to hold one object per file stem, with heart_centre_xy in it.")
    return facts


def _spoil(protocol: Protocol, good: ImageSequence, case: _Case, slices: int | None) -> Trial:
    part = middle_slices(good, slices or protocol.middle_slices)
    return protocol.trial(part, case.facts.get("end_systole_frame"))


def _compete(row: Record, method: Method, trial: Trial, case: _Case, scale: float) -> Record:
    steps = [(method.key, trial.settings), *trial.follow_up]
    run, fault = _or_fault(measured_run, steps, trial.degraded, trial.inputs)
    if run is None:
        return replace(row, error=fault, notes=trial.notes)
    scored = _scored(row, run.result, trial, case, scale)
    return replace(scored, seconds_per_frame=run.seconds / len(run.result), peak_mb=run.peak_mb)


def _scored(row: Record, result: ImageSequence, trial: Trial, case: _Case, scale: float) -> Record:
    def measured() -> Record:
        centre, shape = case.facts.get("heart_centre_xy"), trial.reference.grid.shape
        box = metrics.heart_box(centre, shape) if centre else None
        scores = metrics.score(result, trial.reference, box, trial.scored, scale)
        heart = scores.box.means() if scores.box else {"psnr": float("nan"), "ssim": float("nan")}
        extent = {"slices": shape[0], "frames": len(trial.scored)}
        return replace(row, **scores.whole.means(), roi_psnr=heart["psnr"], roi_ssim=heart["ssim"], **extent)

    record, fault = _or_fault(measured)
    return replace(record or replace(row, error=fault), notes=trial.notes)


def _reference_rows(protocol: Protocol, trial: Trial, case: _Case, scale: float) -> list[Record]:
    """Rows that no user can pick: what a wrong grid costs, and plain interpolation where no method exists yet."""
    if protocol.task is not Task.SUPER_RESOLUTION:
        return []
    across_slices = trial.degraded.grid.shape[0] != trial.reference.grid.shape[0]
    row = Record(protocol.key, case.name, CUBIC_ALONG_SLICES if across_slices else TRAP)
    result = cubic(trial.degraded, trial.reference, half_pixel=not across_slices)
    return [_scored(replace(row, version=STEnhanceLib.__version__), result, trial, case, scale)]


def cubic(low: ImageSequence, onto: ImageSequence, half_pixel: bool) -> ImageSequence:
    """Cubic spline interpolation onto a finer grid with the same axes.

    Args:
        low: the input.
        onto: gives the grid.
        half_pixel: the trap. Put the samples where computer vision puts them (the outer edges of both images
            coincide), although a crop in k-space keeps the first samples in place: the result is (f − 1) / 2 pixels
            off for a factor f, which costs more than any choice of kernel.
    """
    from scipy.ndimage import affine_transform

    to_low = np.linalg.inv(low.ijk_to_ras) @ onto.ijk_to_ras
    step, offset = np.diag(to_low)[2::-1], to_low[2::-1, 3]
    if half_pixel:
        offset = (step - 1) / 2
    shape = onto.grid.shape
    frames = [affine_transform(frame, step, offset, shape, order=3, mode="nearest") for frame in low.magnitude()]
    return ImageSequence.from_frames(frames, onto.grid)


def _or_fault(function: Callable, *arguments) -> tuple[Any, str]:
    """What the function returns and no fault, or None and the sentence of its STEnhanceError."""
    try:
        return function(*arguments), ""
    except STEnhanceError as error:
        logger.info("%s", error)  # the table says it too
        return None, str(error)
