"""The benchmark: every method on every case under every protocol, always beside the baselines of the task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import STEnhanceLib
from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.acquisition.simulate import THICKNESS
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation import metrics
from STEnhanceLib.evaluation.cases import Case
from STEnhanceLib.evaluation.contestants import BASELINES, Contestant, contestants
from STEnhanceLib.evaluation.drift import Curve
from STEnhanceLib.evaluation.measured_run import MeasuredRun, measured_run
from STEnhanceLib.evaluation.phantom_cases import all_cases
from STEnhanceLib.evaluation.protocols import Protocol, Trial, find_protocol
from STEnhanceLib.evaluation.records import Record, to_markdown, write_json
from STEnhanceLib.evaluation.residual import kspace_residual
from STEnhanceLib.methods import Need, Task
from STEnhanceLib.sequence import ImageSequence

__all__ = ["AS_THEY_ARE", "CUBIC_ALONG_SLICES", "CUBIC_HELD", "TRAP", "Record", "run", "to_markdown", "write_json"]

logger = logging.getLogger(__name__)

AS_THEY_ARE = "images as they are"
TRAP = "bicubic-half-pixel (trap)"
CUBIC_ALONG_SLICES = "cubic along slices"
CUBIC_HELD = "cubic along slices, held to the measurement"  # what data consistency alone is worth


def _ignore(_curve: Curve) -> None:
    """Nobody asked for curves."""


class _Contest(NamedTuple):
    """What all contestants of one protocol on one case share."""

    trial: Trial
    case: Case
    scale: float  # the intensity of the whole good sequence that counts as 1
    on_curve: Callable[[Curve], None]


def run(
    protocols: Sequence[str],
    data_dir: Path | str | None,
    methods: Sequence[str] = (BASELINES,),
    *,
    slices: int | None = None,
    cases: Sequence[str] | None = None,
    phantoms: Sequence[str] = (),
    on_step: Callable[[int, int, str], None] = lambda done, total, now: None,
    on_curve: Callable[[Curve], None] = _ignore,
) -> list[Record]:
    """Measure methods on real sequences. One that fails leaves a record that says why, and the others go on.

    Args:
        protocols: keys, see `protocols.PROTOCOLS`.
        data_dir: folder of 4D files; its `cine.json`, if any, gives `heart_centre_xy` and `end_systole_frame` by stem.
            None for phantoms alone.
        methods: keys, with settings or without, `baselines` or `all`; see `contestants`. The baselines of a protocol's
            task always run; methods of other tasks are left out.
        slices: only the middle ones, so many; by default what the protocol says.
        cases: file stems; by default all.
        phantoms: of `phantom_cases.PHANTOMS`, after the files.
        on_step: called with the number of finished runs, their total, and what runs now.
        on_curve: called with the scores of every frame of a finished run.

    Returns:
        records in the order of `protocols`, then of cases, then as menus show methods.

    Raises:
        STEnhanceError: unknown protocol, method, parameter, case or phantom, or no data.
    """
    chosen = [find_protocol(key) for key in dict.fromkeys(protocols)]
    entered = {protocol.key: _entered(protocol, methods) for protocol in chosen}
    found = all_cases(data_dir, cases, phantoms)
    total = len(found) * sum(len(entered[protocol.key]) for protocol in chosen)
    records: list[Record] = []
    done = 0
    for case in found:
        good, fault = _or_fault(case.read)
        scale = metrics.intensity_scale(good) if good else 0.0
        for protocol in chosen:
            trial, fault = _or_fault(case.spoil, protocol, good, slices) if good else (None, fault)
            contest = _Contest(trial, case, scale, on_curve) if trial else None
            for contestant in entered[protocol.key]:
                on_step(done, total, f"{protocol.key} {case.name} {contestant.label}")
                label = contestant.row_label(trial) if trial else contestant.label
                row = Record(protocol.key, case.name, label, version=STEnhanceLib.__version__)
                records.append(_compete(row, contestant, contest) if contest else replace(row, error=fault))
                done += 1
            if contest:
                records += _reference_rows(protocol, contest)
    on_step(done, total, "done")
    return sorted(records, key=lambda record: [protocol.key for protocol in chosen].index(record.protocol))


def _entered(protocol: Protocol, methods: Sequence[str]) -> list[Contestant]:
    entering = contestants(protocol.task, methods)
    return [one for one in entering if not (protocol.images_alone and Need.KSPACE in one.method.needs)]


def _compete(row: Record, contestant: Contestant, contest: _Contest) -> Record:
    trial = contest.trial

    def measured() -> MeasuredRun:
        steps = contestant.steps(row.protocol, trial)
        return measured_run(steps, trial.degraded, contestant.inputs(trial))

    run, fault = _or_fault(measured)
    if run is None:
        return replace(row, error=fault, notes=trial.notes)
    seconds_per_frame = run.seconds / len(run.result)
    return replace(
        _scored(row, run.result, contest),
        seconds_per_frame=seconds_per_frame,
        peak_mb=run.peak_mb,
        first_frame_ms=run.first_frame_ms,
        first_run_seconds=run.first_seconds,
        ms_per_slice=1000 * seconds_per_frame / run.result.grid.shape[0],
        gflop_per_frame=run.gflop_per_frame,
    )


def _scored(row: Record, result: ImageSequence, contest: _Contest) -> Record:
    trial, centre = contest.trial, contest.case.facts.get("heart_centre_xy")

    def measured() -> Record:
        shape = trial.reference.grid.shape
        box = metrics.heart_box(centre, shape) if centre else None
        scores = metrics.score(result, trial.reference, box, trial.scored, contest.scale)
        contest.on_curve(Curve.of(row, trial.reference.times_ms, scores))
        heart = scores.box.means() if scores.box else {"psnr": float("nan"), "ssim": float("nan")}
        return replace(
            row,
            **scores.whole.means(),
            roi_psnr=heart["psnr"],
            roi_ssim=heart["ssim"],
            kspace_residual=kspace_residual(result, trial.degraded) if trial.centre_crop else float("nan"),
            slices=shape[0],
            frames=len(trial.scored),
        )

    record, fault = _or_fault(measured)
    return replace(record or replace(row, error=fault), notes=trial.notes)


def _reference_rows(protocol: Protocol, contest: _Contest) -> list[Record]:
    """Rows that no user can pick: noisy images as they are, what a wrong grid costs, plain interpolation of slices."""
    low, onto = contest.trial.degraded, contest.trial.reference
    if protocol.images_alone:
        results = {AS_THEY_ARE: low}
    elif protocol.task is not Task.SUPER_RESOLUTION:
        return []
    elif low.grid.shape[0] == onto.grid.shape[0]:
        results = {TRAP: cubic(low, onto, half_pixel=True)}
    else:
        held = [thick_slices.start(frame, THICKNESS) for frame in low.frames]
        results = {
            CUBIC_ALONG_SLICES: cubic(low, onto, half_pixel=False),
            CUBIC_HELD: ImageSequence.from_frames(held, onto.grid),
        }
    row = Record(protocol.key, contest.case.name, "", version=STEnhanceLib.__version__)
    silent = contest._replace(on_curve=_ignore)
    return [_scored(replace(row, method=label), result, silent) for label, result in results.items()]


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
    step, offset = np.diag(np.diag(to_low)[2::-1]), to_low[2::-1, 3]
    if half_pixel:
        offset = (np.diag(step) - 1) / 2
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
