"""Writing bundles: weights in half precision, metadata with their checksum, and the card made from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.files.replace import replaced_when_complete
from STEnhanceLib.models.bundle import CARD, FORMAT_VERSION, METADATA, WEIGHTS, Model, check_metadata, read_bundle
from STEnhanceLib.models.card import write_card

if TYPE_CHECKING:
    import torch


def save(  # noqa: PLR0917  (from where to what, in the order of the bundle)
    folder: Path,
    network: torch.nn.Module,
    name: str,
    architecture: str,
    configuration: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> Model:
    """Write a network as a bundle; one that lies there already is replaced.

    Args:
        folder: of the bundle; called like it.
        network: its weights, in whatever precision and wherever they are.
        name: of the bundle.
        architecture: a name of `networks.NETWORKS`.
        configuration: what `networks.build` makes the network from.
        metadata: what `bundle.DESCRIPTION` lists: version, title, task, training, limits and so on.

    Raises:
        STEnhanceError: the metadata lacks something, or a weight is NaN or too large for half precision.
    """
    import safetensors.torch
    import torch

    folder = Path(folder)
    if folder.name != name:
        raise STEnhanceError(f"The model {name!r} was to be saved in {folder}; expected a folder of the same name.")
    weights = {key: _half(tensor) for key, tensor in network.state_dict().items()}
    unusable = [key for key, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if unusable:
        raise STEnhanceError(
            f"{unusable[0]} of the model {name} has weights that are NaN or beyond half precision (65504); "
            "expected a network whose training went well."
        )
    content = safetensors.torch.save(weights)
    ours = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "architecture": {"network": architecture, "configuration": dict(configuration)},
        "weights": {
            "file": WEIGHTS,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "dtype": "float16",
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
    }
    described, card = _described(ours | dict(metadata) | ours)
    _write(folder / WEIGHTS, content)
    _write(folder / METADATA, described)
    _write(folder / CARD, card)
    return read_bundle(folder)


def update_scores(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Model:
    """Replace the measured scores of a bundle, in its metadata and on its card.

    Args:
        folder: of the bundle.
        rows: one per measurement, for example records of the benchmark; each with protocol, case, method, psnr, ssim.

    Raises:
        STEnhanceError: the bundle's metadata is unusable, or a row lacks something.
    """
    model = read_bundle(folder)
    described, card = _described({**model.metadata, "scores": [dict(row) for row in rows]})
    _write(Path(folder) / METADATA, described)
    _write(Path(folder) / CARD, card)
    return read_bundle(folder)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    tensor = tensor.detach().cpu()
    return (tensor.to(torch.float16) if tensor.is_floating_point() else tensor).contiguous().clone()


def _described(metadata: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The content of `metadata.json` and of the card."""
    text = json.dumps(_finite(metadata), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    as_read = json.loads(text)
    try:
        check_metadata(as_read)
    except STEnhanceError as error:
        raise STEnhanceError(f"The metadata of the model {metadata['name']} cannot be written: {error}.") from None
    return text.encode(), write_card(as_read).encode()


def _finite(value: Any) -> Any:
    """NaN, as records of the benchmark have it where nothing was measured, as null; JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_when_complete(path) as stream:
        stream.write(content)
