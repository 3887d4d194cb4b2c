"""Adapts a motion network to one sequence: a copy of it practises on the pairs of frames that were measured.

Kim et al. (UVI-Net, CVPR 2024) found one patient to teach about as much as ninety. Nothing between the frames of a
pair is looked at while it practises (`motion.cycle`). Whether it helped is judged by measured frames that are left out
between their neighbours. These are no independent test: it practised on each of them as an end of other pairs, so that
they flatter what it learnt. They can tell that practice did harm, not how much it gains at moments nobody measured.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.methods.left_out import FEWEST, with_neighbours
from STEnhanceLib.methods.output_times import path_through
from STEnhanceLib.sequence import Grid

if TYPE_CHECKING:
    import torch

Interpolate = Callable[..., np.ndarray]  # (network, first, second, fraction) -> (K, J, I)

SEED = 0
COUNT, SIDE = 6, 128  # windows of a step, and pixels along their sides
RATE, WARM_UP = 5e-4, 10  # the largest learning rate, and steps until it is reached
LARGEST_GRADIENT = 1.0
WATCHED = 4  # batches on which the cycle error is measured
MOST_LEFT_OUT = 8  # frames


class Gap(NamedTuple):
    """Two measured frames, and one that was measured between them, after a fraction of the time."""

    first: int
    second: int
    between: int
    fraction: float


class Errors(NamedTuple):
    """In % of the intensity scale.

    Attributes:
        cycle: mean absolute error of frames that were made again, see `motion.cycle`.
        left_out: root mean squared error of measured frames that were left out, though pairs that they are ends of were
            practised on; None where there are fewer than three.
    """

    cycle: float
    left_out: float | None


def adapted(
    network: torch.nn.Module, frames: np.ndarray, grid: Grid, minutes: float, interpolate: Interpolate
) -> tuple[torch.nn.Module | None, str]:
    """A copy of the network after that time of practice on the sequence.

    Args:
        network: stays as it is; the frames are taken to where it lies.
        frames: (T, K, J, I) float32 on an intensity scale of about 1.
        grid: of the frames.
        minutes: of practice, more than 0; measuring the errors before and after it comes on top.
        interpolate: how left-out frames are made.

    Returns:
        the copy, or None where practice did not help, and a note on what was done.
    """
    import torch

    from STEnhanceLib.motion.cycle import mistakes

    ours, gaps, pairs = copy.deepcopy(network).requires_grad_(True), left_out(grid), pairs_of(grid)
    where = device.of(network)
    progress.tell("adapting to this patient: errors before")
    before = _errors(network, frames, pairs, gaps, interpolate)
    optimizer, rng = torch.optim.Adam(ours.parameters()), np.random.default_rng(SEED)
    steps, share, start = 0, 0.0, time.monotonic()
    while share < 1:
        progress.tell(f"adapting to this patient, step {steps + 1}", share)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (steps + 1) / WARM_UP) * (1 - share)
        with torch.enable_grad(), device.half_precision(where):
            total = mistakes(ours, *_windows(network, frames, pairs, rng), rng).total
        total.backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        steps, share = steps + 1, (time.monotonic() - start) / (60 * minutes)
    ours.requires_grad_(False)
    progress.tell("adapting to this patient: errors after", 1.0)
    after = _errors(ours, frames, pairs, gaps, interpolate)
    helped = after.cycle < before.cycle if before.left_out is None else after.left_out < before.left_out
    practised = f"The network practised for {minutes:.3g} minutes, {steps} steps, on {len(pairs)} pairs of frames"
    return ours if helped else None, f"{practised}; {_in_words(before, after, helped)}"


def pairs_of(grid: Grid) -> list[tuple[int, int]]:
    """All neighbouring frames, and all with one frame between them; in a cycle also across its end."""
    count = len(grid)
    steps = [step for step in (1, 2) if step < count]
    return [(n, (n + step) % count) for step in steps for n in range(count) if grid.periodic or n + step < count]


def left_out(grid: Grid) -> list[Gap]:
    """Some frames, evenly spread, that have others on both sides."""
    if len(grid) < FEWEST:
        return []
    frames = np.array(with_neighbours(grid))
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, min(MOST_LEFT_OUT, len(frames))).round().astype(int))]
    return [gap_around(grid, n) for n in chosen.tolist()]


def gap_around(grid: Grid, n: int) -> Gap:
    """What is left without a frame that has others on both sides."""
    before, itself, after = path_through((n - 1, n, n + 1), grid)
    fraction = (itself.time_ms - before.time_ms) / (after.time_ms - before.time_ms)
    return Gap(before.frame, after.frame, n, fraction)


def _errors(network, frames, pairs, gaps: list[Gap], interpolate: Interpolate) -> Errors:
    import torch

    from STEnhanceLib.motion.cycle import mistakes

    rng, cycles, squares = np.random.default_rng(SEED), [], []
    with torch.no_grad(), device.half_precision(device.of(network)):
        for _ in range(WATCHED):
            cycles.append(float(mistakes(network, *_windows(network, frames, pairs, rng), rng).cycle))
    for gap in gaps:
        found = interpolate(network, frames[gap.first], frames[gap.second], gap.fraction)
        squares.append(float(np.square(found - frames[gap.between]).mean()))
    return Errors(100 * float(np.mean(cycles)), 100 * float(np.sqrt(np.mean(squares))) if gaps else None)


def _windows(network, frames: np.ndarray, pairs: list[tuple[int, int]], rng: np.random.Generator):
    """Both frames of some pairs, (B, 1, J, I) each, in windows of some slices where the network lies."""
    import torch

    size = [min(SIDE, n) for n in frames.shape[2:]]
    windows = []
    for _ in range(COUNT):
        pair, k = pairs[rng.integers(len(pairs))], rng.integers(frames.shape[1])
        j, i = (int(rng.integers(n - m + 1)) for n, m in zip(frames.shape[2:], size, strict=True))
        windows.append(frames[list(pair), k, j : j + size[0], i : i + size[1]])
    return torch.from_numpy(np.stack(windows, axis=1)[:, :, None]).to(device.of(network))


def _in_words(before: Errors, after: Errors, helped: bool) -> str:
    cycle = f"what it made again of its own frames was {before.cycle:.2f} % off before, {after.cycle:.2f} % after"
    if before.left_out is None:
        chosen = "was used, though no measured frame could be left out to test it" if helped else "was dropped"
        return f"{cycle}; what it learnt {chosen}."
    chosen = "what it learnt was used" if helped else "this is no better, so what it learnt was dropped"
    left_out = (
        f"measured frames left out {before.left_out:.2f} % before, {after.left_out:.2f} % after (no independent test, "
        "since it practised on them as ends of other pairs)"
    )
    return f"{cycle}; {left_out}; {chosen}."
