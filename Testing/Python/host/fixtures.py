"""The fixture `host`."""

from __future__ import annotations

import pytest


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
