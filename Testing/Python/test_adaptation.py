"""Adapting the network of learned motion to the sequence at hand: by the clock, told, and only if it helps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to adapt")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread", "untrained", "clock")

from test_interpolation_baselines import run, sliding_disc, two_frames  # noqa: E402
from test_motion import cycle  # noqa: E402

from STEnhanceLib import models, progress  # noqa: E402
from STEnhanceLib.methods import adaptation  # noqa: E402

KEY = "learned-motion"


@pytest.fixture
def clock(monkeypatch):
    """One on which every look takes a second, so that a minute has as many steps everywhere; and these are small."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(adaptation, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(adaptation, "COUNT", 2)
    monkeypatch.setattr(adaptation, "WATCHED", 2)


def weights() -> dict:
    return {name: values.clone() for name, values in models.load(KEY).state_dict().items()}


def test_it_lowers_the_error_of_frames_left_out_and_leaves_input_and_model_alone():
    sequence, before = cycle(5), weights()
    frames = sequence.frames.copy()
    plain, adapted = run(sequence, KEY), run(sequence, KEY, adapt_minutes=0.2)
    note = next(note for note in adapted.notes if "practised" in note)
    assert "for 0.2 minutes, 12 steps, on 10 pairs of frames" in note
    assert "no independent test, since it practised on them as ends of other pairs" in note
    assert note.endswith("what it learnt was used.")
    cycles, left_out = (
        [float(part.split("% ")[0].split()[-1]) for part in note.split("%")[:-1]][n:][:2] for n in (0, 2)
    )
    assert cycles[1] < cycles[0]
    assert left_out[1] < left_out[0]
    assert np.abs(adapted.frames[1::2] - plain.frames[1::2]).max() > 0.1
    assert np.array_equal(adapted.frames[::2], frames)
    assert np.array_equal(sequence.frames, frames)
    assert all(torch.equal(before[name], values) for name, values in models.load(KEY).state_dict().items())
    assert not any(weight.requires_grad for weight in models.load(KEY).parameters())
    assert np.array_equal(run(sequence, KEY).frames, plain.frames)


def test_a_test_on_measured_frames_says_that_it_had_practised_on_them():
    plain, adapted = (run(cycle(5), KEY, adapt_minutes=minutes, check=True).notes for minutes in (0.0, 0.2))
    assert "had practised on the frames that were left out" in adapted[-1]
    assert not any("practised" in note for note in plain)


def test_it_does_the_same_again():
    first, again = (run(two_frames(sliding_disc((-2, 2))), KEY, adapt_minutes=0.05) for _ in range(2))
    assert np.array_equal(first.frames, again.frames)


def test_what_makes_things_worse_is_dropped(monkeypatch):
    monkeypatch.setattr(adaptation, "RATE", 10.0)
    sequence = cycle(4)
    adapted = run(sequence, KEY, adapt_minutes=0.05)
    assert any(note.endswith("this is no better, so what it learnt was dropped.") for note in adapted.notes)
    assert np.array_equal(adapted.frames, run(sequence, KEY).frames)


def test_of_two_frames_none_can_be_left_out():
    notes = " ".join(run(two_frames(sliding_disc((-2, 2))), KEY, adapt_minutes=0.1).notes)
    assert "6 steps, on 1 pairs of frames" in notes
    assert "what it learnt was used, though no measured frame could be left out to test it." in notes


def test_it_tells_its_steps_and_stops_when_cancelled():
    told, before = [], weights()

    def cancelling(text: str, share: float) -> None:
        told.append((text, share))
        if "step 4" in text:
            raise KeyboardInterrupt

    with progress.heard_by(cancelling, pause_s=0), pytest.raises(KeyboardInterrupt):
        run(cycle(4), KEY, adapt_minutes=1)
    steps = [(text, share) for text, share in told if "step" in text]
    assert [text for text, _ in steps] == [f"adapting to this patient, step {n}" for n in (1, 2, 3, 4)]
    assert [round(60 * share) for _, share in steps] == [0, 1, 2, 3]
    assert all(torch.equal(before[name], values) for name, values in models.load(KEY).state_dict().items())


def test_it_practises_on_neighbours_and_on_those_with_one_frame_between():
    grid = cycle(5).grid
    pairs = adaptation.pairs_of(grid)
    assert len(pairs) == len(set(pairs)) == 10
    assert {(4, 0), (3, 0), (0, 1), (0, 2)} < set(pairs)
    assert adaptation.pairs_of(replace(grid, periodic=False)) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (0, 2),
        (1, 3),
        (2, 4),
    ]


def test_frames_are_left_out_at_their_own_times_also_where_a_cycle_closes():
    grid = replace(cycle(4).grid, times_ms=np.array([0.0, 100.0, 150.0, 300.0]))
    assert adaptation.left_out(replace(grid, periodic=False)) == [(0, 2, 1, pytest.approx(2 / 3)), (1, 3, 2, 0.25)]
    first, *_, last = adaptation.left_out(grid)
    gap = grid.period_ms - 300.0
    assert first == (3, 1, 0, pytest.approx(gap / (gap + 100)))
    assert last == (2, 0, 3, pytest.approx(150 / (150 + gap)))
    assert adaptation.left_out(two_frames(sliding_disc((-2, 2))).grid) == []
    assert len(adaptation.left_out(cycle(30).grid)) == adaptation.MOST_LEFT_OUT
