"""From the bytes of a bundle to a network; nothing but safetensors is ever parsed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from STEnhanceLib import networks
from STEnhanceLib.errors import STEnhanceError, refused
from STEnhanceLib.models.bundle import Model

if TYPE_CHECKING:
    import torch

SPARE = 4  # times as many parameters may be made as are kept: some are replaced or shared while a network is built


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
    name, configuration = model.architecture["network"], model.architecture["configuration"]
    try:
        with _no_more_than(weights), refused("the network cannot be built", "expected what fits its weights."):
            network = networks.build(name, configuration)
    except STEnhanceError as error:
        raise _broken(model, f"its architecture is not known here ({str(error).rstrip('.')})") from None
    try:
        network.float().load_state_dict({name: _single(tensor) for name, tensor in weights.items()}, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise _broken(model, f"its weights do not fit its architecture ({first[0].strip().rstrip('.')})") from None
    return network.eval().requires_grad_(False)


@contextlib.contextmanager
def _no_more_than(weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Stop a network that is being built as soon as it has more parameters than there are weights for it.

    Parameters are registered before anything is written into them, so one that is too large has taken no memory yet.

    Raises:
        ValueError: in the code that adds one too many.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    tensors, numbers = len(weights), sum(tensor.numel() for tensor in weights.values())
    added = []

    def count(_module, _name, parameter) -> None:
        if parameter is not None:
            added.append(parameter.numel())
            if len(added) > SPARE * tensors + 100 or sum(added) > SPARE * numbers + 1e6:
                raise ValueError(f"it is larger than the {numbers} weights that are there for it")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _broken(model: Model, reason: str) -> STEnhanceError:
    return STEnhanceError(f"The model {model.name} in {model.folder} cannot be used: {reason}. Get its folder anew.")
