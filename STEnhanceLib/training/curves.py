"""The course of a training as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and learning rate, PSNR and SSIM over the steps, with the baseline dashed; written as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots(1, 3)
    steps = [row["step"] for row in history]
    axes[0].semilogy(steps, [row["loss"] for row in history], label="loss")
    axes[0].semilogy(steps, [row["learning_rate"] for row in history], ":", label="learning rate")
    for axis, metric in zip(axes[1:], ("psnr", "ssim"), strict=True):
        for name in sorted({key for row in history for key in row if key.startswith(metric)}):
            style = "--" if name.endswith("zero_fill") else "-"
            label = name.replace("_", " ")
            axis.plot(steps, [row.get(name) for row in history], style, label=label)
    for axis, title in zip(
        axes, ("training", "PSNR of the tuning patient (dB)", "SSIM of the tuning patient"), strict=True
    ):
        axis.set_title(title, fontsize="medium")
        axis.set_xlabel("step")
        if axis.has_data():
            axis.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=100)
