"""The model card: what a reader must know before trusting a model, as Markdown made from its metadata alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SCORES = {
    "protocol": "protocol",
    "case": "case",
    "method": "method",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "roi_psnr": "heart PSNR (dB)",
    "roi_ssim": "heart SSIM",
}


def write_card(metadata: Mapping[str, Any]) -> str:
    """The card of a bundle with this metadata."""
    weights, architecture = metadata["weights"], metadata["architecture"]
    parts = [
        f"# {metadata['title']}",
        f"`{metadata['name']}` {metadata['version']}, {metadata['task']}. Research software: not for clinical use.",
        metadata["intended_use"],
        "## Training",
        _listed(metadata["training"]),
        "## Measured",
        _scores(metadata["scores"]) or "Nothing was measured yet.",
        "## Limits",
        "\n".join(f"* {sentence}" for sentence in metadata["limits"]),
        "## What the network expects",
        _listed(metadata["network_data_format"]),
        "## Network and weights",
        _listed({"network": architecture["network"], **architecture["configuration"], **weights}),
        "## Citation",
        metadata["citation"],
        "## Copyright",
        f"{metadata['copyright']} Licence: {metadata['licence']}.",
    ]
    return "\n\n".join(parts).replace("<", "\\<") + "\n"  # what looks like HTML is text, in every viewer


def _listed(entries: Mapping[str, Any]) -> str:
    return "\n".join(f"* **{_words(key)}:** {_value(value)}" for key, value in entries.items())


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of the known metrics that at least one row has, then of what else the rows tell in numbers."""
    others = [key for row in rows for key, value in row.items() if key not in _SCORES and isinstance(value, float)]
    keys = [key for key in dict.fromkeys([*_SCORES, *others]) if any(row.get(key) is not None for row in rows)]
    if not keys:
        return ""
    head = "| " + " | ".join(_SCORES.get(key, _words(key)) for key in keys) + " |"
    rule = "|" + "".join("---:|" if any(_is_number(row.get(key)) for row in rows) else "---|" for key in keys)
    body = ["| " + " | ".join(_cell(key, row.get(key)) for key in keys) + " |" for row in rows]
    return "\n".join([head, rule, *body])


def _cell(key: str, value: Any) -> str:
    if isinstance(value, float) and key.endswith(("psnr", "ssim")):
        return format(value, ".2f" if key.endswith("psnr") else ".4f")
    return _value(value).replace("|", "\\|")


def _words(key: str) -> str:
    words = key[:1].upper() + key[1:].replace("_", " ")
    return words.replace("psnr", "PSNR").replace("ssim", "SSIM").replace("Sha256", "SHA-256")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_value(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return str(value)
