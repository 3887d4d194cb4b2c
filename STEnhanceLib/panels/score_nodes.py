"""Scores as nodes of the scene: a table of means, a table of every frame, and a chart of the latter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtkmodules.vtkCommonCore import vtkDoubleArray, vtkStringArray

METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "nrmse": "NRMSE", "mae": "MAE"}
CANDIDATES = {"before": "Before (interpolated)", "after": "After"}
_COLOURS = {"before": (0.45, 0.45, 0.45), "after": (0.12, 0.42, 0.72)}
_ROLE = "STEnhance.Scores"  # attribute of our nodes


def means(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Candidate to metric to its plain mean over the scored frames, as in every table of the benchmark."""
    return {name: {metric: float(np.mean(scores[name][metric])) for metric in METRICS} for name in CANDIDATES}


def publish(scores: Mapping[str, Any], title: str) -> tuple:
    """Show scores in the scene, in place of earlier ones.

    Args:
        scores: see `evaluation.background.BackgroundComparison.poll`.
        title: of the compared sequences.

    Returns:
        the `vtkMRMLTableNode` of the means, that of every frame, and the `vtkMRMLPlotChartNode` of the PSNR.
    """
    remove()
    summary = _table(
        f"{title}: {_('metrics')}",
        {
            _("Sequence"): [_(label) for label in CANDIDATES.values()],
            **{label: [means(scores)[name][metric] for name in CANDIDATES] for metric, label in METRICS.items()},
        },
    )
    columns = {"Time (ms)": scores["times_ms"]}
    for name, candidate in CANDIDATES.items():
        columns |= {f"{label}, {candidate}": scores[name][metric] for metric, label in METRICS.items()}
    frames = _table(f"{title}: {_('metrics of every frame')}", columns)
    chart = _add("vtkMRMLPlotChartNode", f"{title}: PSNR")
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Time (ms)"))
    chart.SetYAxisTitle(METRICS["psnr"])
    for name, candidate in CANDIDATES.items():
        series = _add("vtkMRMLPlotSeriesNode", _(candidate))
        series.SetAndObserveTableNodeID(frames.GetID())
        series.SetXColumnName("Time (ms)")
        series.SetYColumnName(f"{METRICS['psnr']}, {candidate}")
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle)
        series.SetColor(*_COLOURS[name])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return summary, frames, chart


def as_html(scores: Mapping[str, Any]) -> str:
    """The means as a small table."""
    head = "".join(f"<th>&nbsp; {label}</th>" for label in METRICS.values())
    rows = "".join(
        f"<tr><td>{_(CANDIDATES[name])}</td>"
        + "".join(
            f'<td align="right">&nbsp; {value:.{2 if metric == "psnr" else 4}f}</td>' for metric, value in row.items()
        )
        + "</tr>"
        for name, row in means(scores).items()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def remove() -> None:
    """Take all scores out of the scene."""
    for class_name in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in slicer.util.getNodesByClass(class_name):
            if node.GetAttribute(_ROLE):
                slicer.mrmlScene.RemoveNode(node)


def _table(name: str, columns: Mapping[str, list]):
    node = _add("vtkMRMLTableNode", name)
    for title, values in columns.items():
        texts = isinstance(values[0], str)
        column = vtkStringArray() if texts else vtkDoubleArray()
        column.SetName(title)
        for value in values:
            # An infinite PSNR, of a frame that equals its reference, has no place on an axis.
            column.InsertNextValue(value if texts or np.isfinite(value) else float("nan"))
        node.AddColumn(column)
    return node


def _add(class_name: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(_ROLE, "yes")
    return node
