"""From the bytes of a bundle to a network; nothing but safetensors is ever parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from STEnhanceLib import networks
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.models.bundle import Model

if TYPE_CHECKING:
    import torch


def load_weights(model: Model) -> torch.nn.Module:
    """The network of a model on the CPU, float32, in eval mode, whose parameters take no gradients.

    Raises:
        STEnhanceError: see `Model.checked_weights`; or architecture and weights do not fit, or there are NaN in them.
    """
    import safetensors.torch
    import torch

    content = model.checked_weights()
    try:
        weights = safetensors.torch.load(content)
    except Exception as error:  # its own class, and KeyError for types of numbers that torch lacks
        raise _broken(model, f"its weight file cannot be read as safetensors ({error})") from None
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise _broken(model, "there are NaN or infinite numbers among its weights")
    try:
        network = networks.build(model.architecture["network"], model.architecture["configuration"])
    except (STEnhanceError, RuntimeError) as error:
        raise _broken(model, f"its architecture is not known here ({str(error).rstrip('.')})") from None
    try:
        network.float().load_state_dict({name: _single(tensor) for name, tensor in weights.items()}, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise _broken(model, f"its weights do not fit its architecture ({first[0].strip().rstrip('.')})") from None
    return network.eval().requires_grad_(False)


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _broken(model: Model, reason: str) -> STEnhanceError:
    return STEnhanceError(f"The model {model.name} in {model.folder} cannot be used: {reason}. Get its folder anew.")
