"""The Python packages that some methods need: which are missing, and installing them after asking."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterable

import slicer
from slicer.i18n import tr as _

from STEnhanceLib.methods import Method

logger = logging.getLogger(__name__)

REQUIREMENTS = {"safetensors": "safetensors>=0.4", "torchkbnufft": "torchkbnufft>=1.5"}


def missing_for(methods: Iterable[Method]) -> tuple[str, ...]:
    """The packages that are not installed and without which one of these methods cannot run."""
    importlib.invalidate_caches()  # what was installed a moment ago counts
    return tuple(dict.fromkeys(name for method in methods for name in method.missing_packages()))


def install(missing: tuple[str, ...]) -> bool:
    """Ask the user, then install; True when all is there afterwards, False also where the user declined.

    torch comes from the PyTorch extension, which picks the build that fits the computer's GPU.
    """
    others = [REQUIREMENTS.get(name, name) for name in missing if name != "torch"]
    try:
        if "torch" in missing and not _install_torch():
            return False
        if others and not _install_with_pip(others):
            return False
    except Exception as error:  # no network, no room on the disk: pip has many ways
        logger.exception("Installing %s failed", ", ".join(missing))
        slicer.util.errorDisplay(_("The packages were not installed: {reason}").format(reason=error))
        return False
    importlib.invalidate_caches()
    return all(importlib.util.find_spec(name) for name in missing)


def _install_torch() -> bool:
    try:
        import PyTorchUtils
    except ImportError:
        slicer.util.errorDisplay(
            _("Install the extension PyTorch with the Extensions Manager and restart Slicer, then try again.")
        )
        return False
    return PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is not None


def _install_with_pip(requirements: list[str]) -> bool:
    try:
        from packaging.requirements import Requirement
        from slicer.packaging import pip_ensure
    except ImportError:  # Slicer 5.10
        question = _("Install these Python packages?") + "\n\n" + "\n".join(requirements)
        agreed = slicer.util.confirmOkCancelDisplay(question, windowTitle="STEnhance")
        if agreed:
            slicer.util.pip_install(requirements)
        return agreed
    try:
        pip_ensure([Requirement(text) for text in requirements], requester="STEnhance")
    except RuntimeError:  # how it says that the user declined
        return False
    return True
