"""Whether following motion is worth it at all: frames that are left out, made by motion and by a linear blend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_interpolation_baselines import run
from test_motion import cycle

from STEnhanceLib.methods.output_times import NOT_BRIGHTNESS_NOTE, as_text
from STEnhanceLib.sequence import ImageSequence

torch = pytest.importorskip("torch", reason="torch is not installed: no motion engine to test")
pytestmark = pytest.mark.usefixtures("one_thread")

CLOSER = "A linear blend of the same neighbours came closer, with "


def pulsating_flow(times_ms: np.ndarray) -> ImageSequence:
    """Velocities in vessels that do not move, but whose blood turns round: nothing that could be followed."""
    j, i = np.mgrid[:48, :48]
    vessel = 100 * np.sin(i / 2.5) * np.sin(j / 5) ** 2
    frames = np.stack([np.sin(2 * np.pi * t / 400 + i[None] / 15) * vessel for t in times_ms]).astype(np.float32)
    return ImageSequence(frames, np.diag([2.0, 2.0, 8.0, 1.0]), times_ms)


def notes(sequence: ImageSequence) -> list[str]:
    return [note for note in run(sequence, "motion", check=True).notes if note.startswith(CLOSER)]


@pytest.mark.parametrize("periodic", [True, False])
def test_where_a_blend_comes_clearly_closer_to_frames_that_are_left_out_the_check_says_so(periodic):
    times = 40.0 * np.arange(10) + [0, 3, 0, -4, 0, 0, 2, 0, 0, 0]
    flow = replace(pulsating_flow(times), periodic=periodic)
    cycles, scale, errors = 1, np.percentile(flow.frames, 99.9), []
    if periodic:  # written out: each frame has neighbours on both sides in the second of three cycles
        cycles, times = 3, np.concatenate([times + n * flow.grid.period_ms for n in range(3)])
    several = replace(flow, frames=np.tile(flow.frames, (cycles, 1, 1, 1)), times_ms=times, periodic=False)
    for n in range(10, 20) if periodic else range(1, 9):
        blend = run(several.with_frames([n - 1, n + 1]), "linear", times_ms=as_text([times[n]])).frames[0]
        errors.append(100 * np.sqrt(np.square(blend - several.frames[n]).mean()) / scale)
    (note,) = notes(flow)
    assert note.startswith(f"{CLOSER}{np.mean(errors):.2f} %: ")


def test_where_motion_is_followed_nothing_is_said_of_a_blend():
    assert not notes(cycle(10))


def test_noise_alone_is_no_reason_to_prefer_a_blend():
    noise = np.random.default_rng(2).normal(0, 5, (10, 1, 48, 48)) + 100
    at_rest = replace(cycle(10), frames=np.tile(cycle(10).frames[:1], (10, 1, 1, 1)))
    size = at_rest.frames.shape[-2:]
    noisy = replace(at_rest, frames=(at_rest.frames + np.resize(noise, (10, 1, *size))).astype(np.float32))
    assert not notes(noisy)


@pytest.mark.parametrize("key", ["motion", "learned-motion"])
def test_of_velocities_a_result_says_unasked_that_motion_may_be_followed_wrongly(key):
    if key == "learned-motion":
        pytest.importorskip("safetensors", reason="safetensors is not installed: no models")
    flow = pulsating_flow(40.0 * np.arange(4))
    magnitude = replace(flow, frames=np.abs(flow.frames))
    told = [NOT_BRIGHTNESS_NOTE in run(sequence, key).notes for sequence in (flow, magnitude)]
    assert told == [True, False]
