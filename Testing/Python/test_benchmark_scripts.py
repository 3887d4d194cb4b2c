"""The scripts behind the numbers and pictures of docs/benchmarks.md say what they lack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "arguments",
    [
        ("acquired_spectra.py",),
        ("denoisers.py",),
        ("gradient_delays.py",),
        ("imperfect_scans.py",),
        ("montage.py", "s4", "scd0000301_sax", "zero-fill", "a.png"),
    ],
    ids=" ".join,
)
def test_a_folder_without_cines_is_told_in_one_sentence(tmp_path, arguments):
    script, *rest = arguments
    command = [sys.executable, SCRIPTS / script, *rest, "--data", tmp_path]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().startswith(f"{tmp_path} holds no 4D file") and len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
