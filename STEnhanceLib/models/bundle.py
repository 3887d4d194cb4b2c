"""One bundle: its metadata, read and checked, and its weight file, checked byte for byte before anyone opens it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from STEnhanceLib.errors import STEnhanceError, refused
from STEnhanceLib.models.card import write_card

FORMAT_VERSION = 1
METADATA, CARD, WEIGHTS = "configs/metadata.json", "docs/README.md", "models/model.safetensors"

DESCRIPTION = {  # what whoever trained a model says about it
    "version": str,
    "title": str,
    "task": str,
    "intended_use": str,
    "network_data_format": dict,
    "training": dict,
    "scores": list,
    "limits": list,
    "citation": str,
    "copyright": str,
    "licence": str,
}
_WANTED = {"name": str, **DESCRIPTION, "architecture": dict, "weights": dict}
_WANTED_WITHIN = {
    "architecture": {"network": str, "configuration": dict},
    "weights": {"file": str, "sha256": str, "bytes": int, "dtype": str},
    "network_data_format": dict.fromkeys(("inputs", "outputs", "intensity", "grid"), object),
    "training": dict.fromkeys(
        ("recipe", "data", "data_licence", "held_out_cases", "steps", "seed", "device", "minutes", "validation"), object
    ),
}
_SCORED = ("protocol", "case", "method", "psnr", "ssim")
_KINDS = {str: "text", dict: "an object", list: "a list", int: "a whole number"}


@dataclass(frozen=True)
class Model:
    """A bundle whose metadata is in order; whether its weights are, `checked_weights` tells.

    Attributes:
        name: of the bundle and its folder.
        folder: of the bundle.
        metadata: the content of `configs/metadata.json`.
    """

    name: str
    folder: Path
    metadata: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """What the weight file must have."""
        return self.metadata["weights"]["sha256"]

    @property
    def architecture(self) -> Mapping[str, Any]:
        """`network`, a name of `networks.NETWORKS`, and its `configuration`."""
        return self.metadata["architecture"]

    def card(self) -> str:
        """What it is, expects, was trained on, reached, and cannot do; Markdown."""
        with refused(f"The card of the model {self.name} cannot be made", "get the model's folder anew."):
            return write_card(self.metadata)

    def identity(self) -> str:
        """Name, version and SHA-256, as a result keeps them in its provenance."""
        return f"{self.name} {self.metadata['version']} sha256:{self.sha256}"

    def checked_weights(self) -> bytes:
        """The content of the weight file, which is exactly that which the metadata describes.

        Raises:
            STEnhanceError: the file is missing, incomplete, altered, or holds something else, for example a pickle.
        """
        path, wanted = self.folder / self.metadata["weights"]["file"], self.metadata["weights"]["bytes"]
        if path.exists() and not path.is_file():
            raise STEnhanceError(f"{path} is no file; expected the weights of the model {self.name}. Get it anew.")
        try:
            with path.open("rb") as stream:
                # No more is read than it may have, and no room made for more than it has.
                content = stream.read(min(wanted, path.stat().st_size) + 1)
        except OSError as error:
            raise STEnhanceError(
                f"The weight file {path} of the model {self.name} cannot be read ({error.strerror or error}). "
                "Get the model's folder anew."
            ) from None
        if len(content) > 8 and content[8:9] != b"{":  # the length of a header of JSON comes first
            raise STEnhanceError(
                f"{path} is no safetensors file. Pickled weights (.pt, .pth, .pkl) can run any program and are never "
                "opened; convert them to safetensors where you trust them, or get the model's folder anew."
            )
        if len(content) != wanted:
            found = f"{len(content)}" if len(content) < wanted else "more"
            raise STEnhanceError(
                f"The weight file {path} has {found} bytes; expected {wanted}. It is incomplete or another model's; "
                "get the model's folder anew."
            )
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise STEnhanceError(
                f"The weight file {path} is not the one that its metadata describes (another SHA-256 checksum): it "
                "was damaged or altered. Get the model's folder anew."
            )
        return content


def read_bundle(folder: Path) -> Model:
    """Read and check the metadata of a bundle; the weights are not touched.

    Raises:
        STEnhanceError: no JSON, a newer format, or something missing or of the wrong kind.
    """
    path = Path(folder) / METADATA
    if path.exists() and not path.is_file():
        raise STEnhanceError(f"{path} is no file; expected the metadata of a model. Get its folder anew.")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(metadata, ensure_ascii=False).encode()  # half characters cannot be shown anywhere
    except OSError as error:
        raise STEnhanceError(f"{path} cannot be read ({error.strerror or error}); expected a model there.") from None
    except (ValueError, RecursionError) as error:
        raise STEnhanceError(f"{path} is not valid JSON ({error}). Get the model's folder anew.") from None
    try:
        check_metadata(metadata)
        if metadata["name"] != path.parents[1].name:
            raise STEnhanceError(f"it describes the model {metadata['name']!r}; name its folder like that")
    except STEnhanceError as error:
        raise STEnhanceError(f"{path} describes no model that can be used: {error}.") from None
    return Model(metadata["name"], path.parents[1], metadata)


def check_metadata(metadata: Any) -> None:
    """Refuse metadata that lacks something or is from a newer version.

    Raises:
        STEnhanceError: what is wrong, without a full stop.
    """
    _expect_kinds(metadata, {"format_version": int}, "")
    if metadata["format_version"] != FORMAT_VERSION:
        raise STEnhanceError(
            f"its format_version is {metadata['format_version']}, this version of STEnhance reads {FORMAT_VERSION}; "
            "update STEnhance, or get a model made for it"
        )
    _expect_kinds(metadata, _WANTED, "")
    for part, wanted in _WANTED_WITHIN.items():
        _expect_kinds(metadata[part], wanted, f"{part}.")
    for row in metadata["scores"]:
        _expect_kinds(row, dict.fromkeys(_SCORED, object), "scores.")
    if metadata["weights"]["bytes"] < 1:
        raise STEnhanceError(f"weights.bytes is {metadata['weights']['bytes']}; expected the size of the weight file")
    _expect_inside(metadata["weights"]["file"])


def _expect_kinds(found: Any, wanted: Mapping[str, type], where: str) -> None:
    if not isinstance(found, dict):
        raise STEnhanceError(f"{where.rstrip('.') or 'the file'} holds {found!r:.40}; expected an object")
    for key, kind in wanted.items():
        if key not in found:
            raise STEnhanceError(f"it lacks {where}{key}")
        if not isinstance(found[key], kind) or isinstance(found[key], bool):
            raise STEnhanceError(f"{where}{key} is {found[key]!r:.40}; expected {_KINDS[kind]}")


def _expect_inside(file: str) -> None:
    for path in (PurePosixPath(file), PureWindowsPath(file)):
        if path.anchor or ".." in path.parts or path.suffix != ".safetensors" or not file.isprintable():
            raise STEnhanceError(f"weights.file is {file!r}; expected a .safetensors file inside the model's folder")
