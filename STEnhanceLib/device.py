"""Where torch computes: the GPU if there is one, unless the user says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from STEnhanceLib.errors import STEnhanceError

if TYPE_CHECKING:
    import torch

VARIABLE = "STENHANCE_DEVICE"
CHOICES = ("automatic", "cpu", "cuda")
WITH_BFLOAT16 = 8  # compute capability from which GPUs multiply it; older ones emulate it slowly or refuse


def choose(device: str) -> None:
    """Let this process, and those it starts, compute there; one of `CHOICES`."""
    if device not in CHOICES:
        raise STEnhanceError(f"The device {device!r} was chosen; expected one of {', '.join(CHOICES)}.")
    os.environ[VARIABLE] = device


def chosen() -> str:
    """The torch device to compute on: "cpu" or "cuda".

    Raises:
        STEnhanceError: a GPU was asked for, and torch finds none.
    """
    import torch

    wanted, found = os.environ.get(VARIABLE, CHOICES[0]), torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise STEnhanceError(
            "An NVIDIA GPU was asked for, and torch finds none; install a GPU build of torch, or compute on the CPU."
        )
    return "cuda" if found and wanted != "cpu" else "cpu"


def of(network: torch.nn.Module) -> torch.device:
    """Where the weights of a network lie."""
    return next(network.parameters()).device


def half_precision_pays(device: str | torch.device) -> bool:
    """bfloat16 for the convolutions: on GPUs and processors that multiply it in hardware."""
    import torch

    if str(device).startswith("cuda"):
        return torch.cuda.get_device_capability(device)[0] >= WITH_BFLOAT16
    # Builds without oneDNN, as those for Apple's processors, do not know the question.
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def half_precision(device: str | torch.device) -> torch.autocast:
    """A context in which convolutions on this device take bfloat16 where that pays; all else keeps its precision."""
    import torch

    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=half_precision_pays(device))
