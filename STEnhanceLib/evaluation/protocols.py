"""The protocols of the benchmark: how a good sequence is spoilt, what is asked of a method, and what is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from STEnhanceLib.acquisition.simulate import THICKNESS, Simulation, has_delays, simulate, spokes_or_acceleration
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Task
from STEnhanceLib.methods.output_times import as_text
from STEnhanceLib.sequence import ImageSequence

MIDDLE_SLICES_OF_COILS = 1  # simulating and reconstructing eight coils takes a minute or more per slice on a CPU


@dataclass(frozen=True, eq=False)
class Trial:
    """One sequence, spoilt by one protocol.

    Attributes:
        degraded: what a method gets.
        reference: what its result is scored against; the part of the good sequence that was asked for.
        scored: indices of the frames of `reference` that count.
        settings: of the method under test, so that its result lies on the grid of `reference`.
        inputs: `prior` and `kspace`, for the methods that need them.
        follow_up: (method key, settings) that finish the work of the method under test.
        alone: settings of a method that can do the work of `follow_up` itself; nothing follows it.
        notes: what was assumed about this sequence.
        centre_crop: `degraded` is the centre of the k-space of all frames, so that results can be checked against it.
    """

    degraded: ImageSequence
    reference: ImageSequence
    scored: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    follow_up: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    alone: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    centre_crop: bool = False


@dataclass(frozen=True)
class Protocol:
    """One line of the benchmark.

    Attributes:
        key: also names the acquisition that spoils the sequence.
        task: whose methods compete.
        conditions: what was simulated and scored, one or two sentences for the foot of a table.
        ask: turns the good sequence and its simulation into a `Trial`.
        middle_slices: how many slices are used unless the caller says otherwise; None for all.
        images_alone: there is no k-space, so methods that need it are left out.
    """

    key: str
    task: Task
    conditions: str
    ask: Callable[[ImageSequence, Simulation], Trial]
    middle_slices: int | None = None
    images_alone: bool = False

    def trial(
        self,
        good: ImageSequence,
        end_systole_frame: int | None = None,
        periodic: bool = True,
        scale: float | None = None,
    ) -> Trial:
        """Spoil a good sequence. It is taken as a full cardiac cycle or not, whatever its file says.

        Args:
            good: the sequence.
            end_systole_frame: see `simulate`.
            periodic: it is a full cycle.
            scale: the intensity that scores count as 1, and of which noise is so many percent, where `good` is a part
                of what they are made for; if None, that of `good`.

        Raises:
            STEnhanceError: the sequence does not suit the protocol, for example because it has too few frames.
        """
        good = replace(good, periodic=periodic)
        spoilt = simulate(good, self.key, seed=0, end_systole_frame=end_systole_frame, scale=scale)
        return self.ask(good, spoilt)


def find_protocol(key: str) -> Protocol:
    """The protocol of this key.

    Raises:
        STEnhanceError: there is none; the message lists what there is.
    """
    if key in PROTOCOLS:
        return PROTOCOLS[key]
    if spokes_or_acceleration(key):
        return _with_coils(key)
    raise STEnhanceError(
        f"There is no protocol {key!r}; there are: {', '.join(PROTOCOLS)}, and r and c with any other number up to 99, "
        "r also with d behind it."
    )


def middle_slices(sequence: ImageSequence, count: int | None) -> ImageSequence:
    """The `count` middle slices of a stack, at their places in the patient; all of them where it has no more."""
    total = sequence.grid.shape[0]
    if count is None or count >= total:
        return sequence
    if count < 1:
        raise STEnhanceError(f"{count} slices were asked for; expected at least 1.")
    first = (total - count) // 2
    matrix = sequence.ijk_to_ras.copy()
    matrix[:3, 3] += first * matrix[:3, 2]
    return replace(sequence, frames=sequence.frames[:, first : first + count], ijk_to_ras=matrix)


def factor_between(small_ji: tuple[int, int], large_ji: tuple[int, int]) -> float:
    """A factor that turns one in-plane matrix into the other when rounded to whole voxels.

    Raises:
        STEnhanceError: one factor cannot serve both axes.
    """
    lowest = max((large - 0.5) / small for small, large in zip(small_ji, large_ji, strict=True))
    highest = min((large + 0.5) / small for small, large in zip(small_ji, large_ji, strict=True))
    exact = large_ji[0] / small_ji[0]
    if lowest <= exact < highest:
        return exact
    if lowest < highest:
        return (lowest + highest) / 2
    raise STEnhanceError(
        f"No single factor leads from {small_ji[1]}×{small_ji[0]} to {large_ji[1]}×{large_ji[0]} voxels; expected "
        "sides that shrink alike. Crop the sequence to a square matrix first."
    )


def _finer_matrix(good: ImageSequence, spoilt: Simulation) -> Trial:
    settings = _back_to(good, spoilt)
    return Trial(spoilt.sequence, good, np.arange(len(good)), settings, centre_crop=True)


def _interpolated(good: ImageSequence, spoilt: Simulation) -> Trial:
    """As a finer matrix, but what was measured is not the whole of the degraded images."""
    return replace(_finer_matrix(good, spoilt), centre_crop=False)


def _back_to(good: ImageSequence, spoilt: Simulation) -> dict[str, Any]:
    """How to ask for the matrix of the good sequence: by a factor, or where none leads to both sides by itself."""
    rows, columns = good.grid.shape[1:]
    try:
        return {"factor": factor_between(spoilt.sequence.grid.shape[1:], (rows, columns))}
    except STEnhanceError:
        return {"matrix": f"{columns}x{rows}"}


def _finer_matrix_with_prior(good: ImageSequence, spoilt: Simulation) -> Trial:
    if len(good) < 2:
        raise STEnhanceError("The sequence has 1 frame; expected at least 2, since the first one is the prior.")
    trial = _finer_matrix(good, spoilt)
    return replace(trial, scored=np.arange(1, len(good)), inputs={"prior": good.with_frames([0])})


def _finer_slices(good: ImageSequence, spoilt: Simulation) -> Trial:
    """Only slices from the first to the last thick one are asked for; what lies beyond would be extrapolated."""
    within = THICKNESS * (spoilt.sequence.grid.shape[0] - 1) + 1
    reference = replace(good, frames=good.frames[:, :within])
    settings = {"factor": 1.0, "slice_factor": float(THICKNESS)}
    return Trial(spoilt.sequence, reference, np.arange(len(good)), settings)


def _same_grid(good: ImageSequence, spoilt: Simulation) -> Trial:
    return Trial(spoilt.sequence, good, np.arange(len(good)), inputs={"kspace": spoilt.kspace})


def _images_alone(good: ImageSequence, spoilt: Simulation) -> Trial:
    return Trial(spoilt.sequence, good, np.arange(len(good)))


def _full_cycle(good: ImageSequence, spoilt: Simulation) -> Trial:
    """All frames, or those up to the last kept one where the kept ones do not go evenly around the cycle."""
    closes = spoilt.sequence.periodic
    reference = good if closes else good.with_frames(range(spoilt.kept[-1] + 1))
    cut = f"{len(good)} frames do not close the cycle in steps of {spoilt.kept[1]}: those after the last kept one were "
    cut += "left out."
    if not good.periodic:
        cut = "This is no cycle: the frames after the last kept one were left out."
    settings = {"times_ms": as_text(reference.times_ms)}
    scored = np.setdiff1d(np.arange(len(reference)), spoilt.kept)
    return Trial(spoilt.sequence, reference, scored, settings, notes=() if closes else (cut,))


def _between_two_frames(good: ImageSequence, spoilt: Simulation) -> Trial:
    reference = replace(good.with_frames(range(spoilt.kept[-1] + 1)), periodic=False)
    settings = {"times_ms": as_text(reference.times_ms)}
    estimated = tuple(note for note in spoilt.sequence.notes if note not in good.notes)
    return Trial(spoilt.sequence, reference, np.arange(1, len(reference) - 1), settings, notes=estimated)


def _joint(good: ImageSequence, spoilt: Simulation) -> Trial:
    """In time first, then each frame in space; every frame was spoilt, so every frame counts."""
    trial = _full_cycle(good, spoilt)
    settings = _back_to(good, spoilt)
    alone = {"enlarge": settings["factor"]} if "factor" in settings else {}
    follow_up = (("zero-fill", settings),)
    return replace(trial, scored=np.arange(len(trial.reference)), follow_up=follow_up, alone=alone)


_SR, _AR, _TI = Task.SUPER_RESOLUTION, Task.ARTEFACT_REDUCTION, Task.TEMPORAL_INTERPOLATION
_CROP = "In-plane k-space centre crop to {}; no coils, phase or noise simulated."
_SCANNER = "In-plane k-space centre crop to {0} per axis{2}, zero-filled to {1} as scanners do, magnitude."
_FILTER = ", complex noise of 1 % of its brightness (seed 0), a {} filter"
_PRIOR = " The first frame, fully sampled, is the prior for methods that take one, and is not scored."
_COILS = "{}, 8 simulated coils, simulated smooth phase, complex noise of 1 % of the intensity scale (seed 0)."
_RICIAN = "Magnitude of the images with complex white noise of 5 % of the intensity scale (seed 0); no coils simulated."
_RICIAN_INTERPOLATED = (
    "Measured on 0.625 of the matrix per axis with complex white noise of 5 % of the intensity scale (seed 0), "
    "zero-filled to the whole matrix, magnitude; no coils simulated."
)
_CYCLE = "Every {} frame kept, of what is taken as one full cardiac cycle; only the others are scored."


def _with_coils(key: str) -> Protocol:
    kind, number = spokes_or_acceleration(key)
    scan = f"{number} golden-angle spokes per frame" if kind == "r" else f"kt-interleaved Cartesian lines, {number}×"
    if has_delays(key):
        scan += ", gradients late along each axis by a random part of 1.5 samples of the twofold oversampled readout "
        scan += "(the k-space file does not say so)"
    return Protocol(key, _AR, _COILS.format(scan), _same_grid, MIDDLE_SLICES_OF_COILS)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.key: protocol
    for protocol in (
        Protocol("s2", _SR, _CROP.format("1/2 per axis"), _finer_matrix),
        Protocol("s4", _SR, _CROP.format("1/4 per axis"), _finer_matrix),
        Protocol("k10", _SR, _CROP.format("10 % of the samples") + _PRIOR, _finer_matrix_with_prior),
        Protocol("k6", _SR, _CROP.format("6.25 % of the samples") + _PRIOR, _finer_matrix_with_prior),
        Protocol("k4", _SR, _CROP.format("4 % of the samples") + _PRIOR, _finer_matrix_with_prior),
        Protocol("m4", _SR, _CROP.format("1/4 per axis") + " Magnitude.", _interpolated),
        Protocol("i4", _SR, _SCANNER.format("1/4", "half of the matrix", ""), _interpolated),
        Protocol("i2", _SR, _CROP.format("1/2 per axis") + " Magnitude.", _interpolated),
        Protocol("i1", _SR, _SCANNER.format("1/2", "the whole matrix", ""), _interpolated),
        Protocol("w4", _SR, _SCANNER.format("1/4", "half of the matrix", _FILTER.format("Fermi")), _interpolated),
        Protocol("w4h", _SR, _SCANNER.format("1/4", "half of the matrix", _FILTER.format("Hann")), _interpolated),
        Protocol(
            "z4", _SR, "Slices 4 times as thick (Gaussian profile) and as far apart; no noise simulated.", _finer_slices
        ),
        *map(_with_coils, ("r13", "r13d", "r26", "c4", "c8")),
        Protocol(
            "h4",
            _AR,
            "1/4 of the Cartesian lines, drawn anew for every frame around the central 8 %, 1 coil, simulated smooth "
            "phase, complex noise of 1 % of the intensity scale (seed 0).",
            _same_grid,
            MIDDLE_SLICES_OF_COILS,
        ),
        Protocol("n5", _AR, _RICIAN, _images_alone, images_alone=True),
        Protocol("ni5", _AR, _RICIAN_INTERPOLATED, _images_alone, images_alone=True),
        Protocol("t2", _TI, _CYCLE.format("2nd"), _full_cycle),
        Protocol("t4", _TI, _CYCLE.format("4th"), _full_cycle),
        Protocol(
            "t6",
            _TI,
            "Only frame 0 (near end-diastole) and the end-systolic frame kept; only the frames between are scored.",
            _between_two_frames,
        ),
        Protocol(
            "st48",
            _TI,
            "Every 8th frame kept, in-plane k-space centre crop to 1/4 per axis; the method named fills in the frames "
            "between, then all of them are zero-filled, unless it makes finer pixels itself, and scored.",
            _joint,
        ),
    )
}
