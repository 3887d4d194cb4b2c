"""The fixture `host`, and the panel of Temporal Interpolation in it."""

from __future__ import annotations

from pathlib import Path

import pytest

TEMPORAL_INTERPOLATION = Path(__file__).parents[3] / "STEnhance/TemporalInterpolation/TemporalInterpolation.py"


@pytest.fixture
def host():
    """A running smoke host; what went wrong in slots, timers and observers fails the test."""
    pytest.importorskip("PySide6", reason="the smoke host needs PySide6-Essentials")
    pytest.importorskip("slicer", reason="the smoke host needs slicer-core")
    from host.session import Host

    session = Host()
    yield session
    errors = session.close()
    assert not errors, "\n".join(errors)


@pytest.fixture
def temporal_panel(host):
    """Without an input."""
    return host.load_module(TEMPORAL_INTERPOLATION).panel
