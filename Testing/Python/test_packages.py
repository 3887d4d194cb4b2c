"""Installing the packages that some methods need: only when the user agrees, and said only when it went wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from STEnhanceLib.methods import all_methods

pytest.importorskip("PySide6")
pytest.importorskip("slicer")


@pytest.fixture
def packages(host):
    from STEnhanceLib.panels import packages

    return packages


def test_slicer_installs_the_versions_that_pip_installs(packages):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    with_torch = tomllib.loads(text)["project"]["optional-dependencies"]["torch"]
    assert set(packages.REQUIREMENTS.values()) | {"torch>=2.4"} == set(with_torch)
    required = {name for method in all_methods().values() for name in method.requires}
    assert required <= packages.REQUIREMENTS.keys() | {"torch", "SimpleITK"}, "SimpleITK comes with Slicer"


def test_a_declined_install_is_no_error(host, packages, caplog):
    host.accept_dialogs = False
    assert packages.install(("torchkbnufft",)) is False
    assert ["torchkbnufft>=1.5" in dialog.text for dialog in host.dialogs] == [True], "asked, and nothing else said"
    assert not caplog.records


def test_where_torch_is_declined_the_rest_is_not_asked_for(host, packages, monkeypatch, caplog):
    declined = SimpleNamespace(installTorch=lambda **_arguments: None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: declined))
    assert packages.install(("torch", "torchkbnufft")) is False
    assert host.dialogs == []
    assert not caplog.records


def test_an_install_that_fails_is_told(host, packages, monkeypatch):
    import slicer

    def fail(requirements):
        raise OSError("No space left on device")

    monkeypatch.setattr(slicer.util, "pip_install", fail, raising=False)
    assert packages.install(("torchkbnufft",)) is False
    assert "No space left on device" in host.dialogs[-1].text


def test_where_slicer_installs_packages_itself_it_is_asked_to(host, packages, monkeypatch, caplog):
    """From Slicer 5.12 on; `slicer-core` has no `slicer.packaging`, so its answer is stood in for."""
    asked = []

    def decline(requirements, requester):
        asked.extend((str(requirement), requester) for requirement in requirements)
        raise RuntimeError("User declined package installation")

    monkeypatch.setitem(sys.modules, "slicer.packaging", SimpleNamespace(pip_ensure=decline))
    assert packages.install(("torchkbnufft",)) is False
    assert asked == [("torchkbnufft>=1.5", "STEnhance")]
    assert not caplog.records
