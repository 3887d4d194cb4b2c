"""Apply, and Cancel at any moment, in the panel's host: it ends, and the scene is as before."""

from __future__ import annotations

import time

import numpy as np
import pytest

from STEnhanceLib.phantoms.thorax import Thorax
from STEnhanceLib.run_state import State

LONGEST_S = 1.0


@pytest.fixture(scope="module")
def phantom():
    return Thorax(breathing_mm=0).cine(frames=12, matrix=96, slices=4)


def nodes() -> int:
    import slicer

    return slicer.mrmlScene.GetNumberOfNodes()


@pytest.mark.parametrize("keep", [False, True])
def test_cancel_at_any_moment_ends_within_a_second(host, temporal_panel, phantom, monkeypatch, keep):
    from STEnhanceLib import enhancing, scene

    monkeypatch.setattr(enhancing, "S_PER_POLL", 0.002)  # a frame per poll, so that publishing lasts
    panel = temporal_panel
    panel.parameters.inputNode = scene.add_sequence(phantom)
    panel.choose("linear")
    panel.parameters.keepPartial = keep
    panel.ui.applyButton.click()
    started = time.monotonic()
    host.wait_until(lambda: not panel.running)
    duration = time.monotonic() - started
    panel.run.publication.cancel()
    before, random, seen = nodes(), np.random.default_rng(3), set()
    for _ in range(12):
        panel.ui.applyButton.click()
        host.wait(random.uniform(0, 1.1) * duration)
        seen.add(panel.run.state)
        if not panel.running:
            panel.run.publication.cancel()
            continue
        pressed = time.monotonic()
        panel.ui.applyButton.click()
        host.wait_until(lambda: not panel.running)
        assert time.monotonic() - pressed < 4 * LONGEST_S  # a busy machine takes its share
        assert panel.run.state is State.CANCELLED
        assert panel.ui.applyButton.enabled and "Cancelled" in panel.ui.statusLabel.text
        assert (panel.run.result is not None) == (keep and panel.run.finished_frames > 0)
        if panel.run.publication is not None:
            panel.run.publication.cancel()
        assert nodes() == before
    assert seen & {State.COMPUTING, State.PUBLISHING}
