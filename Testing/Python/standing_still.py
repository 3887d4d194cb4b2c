"""Runs that stand still until their test lets them go on: what comes before then is so however slow a machine is."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from STEnhanceLib import progress


@pytest.fixture
def gate(tmp_path) -> Path:
    """A file that is not there yet; `gate.touch()` lets the method go on."""
    return tmp_path / "gate"


def stand_still(until: str, text: str = "standing still", share: float = 0.5) -> None:
    """Inside a method: say the same until the file is there, or the user cancels; at once where none is named."""
    while until and not Path(until).exists():
        progress.tell(text, share)
        time.sleep(0.01)


@pytest.fixture
def one_step_per_poll(monkeypatch):
    """A clock on which a second step is too late: a poll of a `SceneRun` does one, however much has come meanwhile.

    So what a panel shows in between is shown, even if the whole result came while the panel was held up.
    """
    pytest.importorskip("slicer")
    from STEnhanceLib import enhancing

    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 0.6 * enhancing.S_PER_POLL * next(looks), sleep=time.sleep)
    monkeypatch.setattr(enhancing, "time", clock)
