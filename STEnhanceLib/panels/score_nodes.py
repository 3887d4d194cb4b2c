"""Scores as nodes of the scene: a table of means, a table of every frame, and a chart of the latter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtkmodules.vtkCommonCore import vtkDoubleArray, vtkStringArray

from STEnhanceLib.evaluation.metrics import FrameScores, identical_words

METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "nrmse": "NRMSE", "mae": "MAE"}
CANDIDATES = {"before": "Before (interpolated)", "after": "After"}
_COLOURS = {"before": (0.45, 0.45, 0.45), "after": (0.12, 0.42, 0.72)}
_PAIR = ("stenhanceScoredBefore", "stenhanceScoredAfter")  # node references of our nodes; a saved scene keeps them


def means(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Candidate to metric to its mean over the scored frames, as in every table of the benchmark."""
    return {name: _frame_scores(scores, name).means() for name in CANDIDATES}


def _frame_scores(scores: Mapping[str, Any], name: str) -> FrameScores:
    return FrameScores(**{metric: np.asarray(scores[name][metric], dtype=float) for metric in METRICS})


def publish(scores: Mapping[str, Any], before_node, after_node) -> tuple:
    """Show scores in the scene, in place of earlier ones of the same two sequences.

    Args:
        scores: see `evaluation.background.BackgroundComparison.poll`.
        before_node: the `vtkMRMLSequenceNode` before.
        after_node: that after, which gives the title.

    Returns:
        the `vtkMRMLTableNode` of the means, that of every frame, and the `vtkMRMLPlotChartNode` of the PSNR.
    """
    pair, title = (before_node, after_node), after_node.GetName()
    _remove(pair)
    summary = _table(
        pair,
        f"{title}: {_('metrics')}",
        {
            _("Sequence"): [_(label) for label in CANDIDATES.values()],
            **{label: [means(scores)[name][metric] for name in CANDIDATES] for metric, label in METRICS.items()},
            _("Frames equal to the reference"): [_frame_scores(scores, name).identical for name in CANDIDATES],
        },
    )
    columns = {"Time (ms)": scores["times_ms"]}
    for name, candidate in CANDIDATES.items():
        columns |= {f"{label}, {candidate}": scores[name][metric] for metric, label in METRICS.items()}
    frames = _table(pair, f"{title}: {_('metrics of every frame')}", columns)
    chart = _add(pair, "vtkMRMLPlotChartNode", f"{title}: PSNR")
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Time (ms)"))
    chart.SetYAxisTitle(METRICS["psnr"])
    for name, candidate in CANDIDATES.items():
        series = _add(pair, "vtkMRMLPlotSeriesNode", _(candidate))
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
        + "".join(f'<td align="right">&nbsp; {_text(metric, value)}</td>' for metric, value in row.items())
        + "</tr>"
        for name, row in means(scores).items()
    )
    said = (
        identical_words(_(label), _frame_scores(scores, name).identical, len(scores["times_ms"]))
        for name, label in CANDIDATES.items()
    )
    notes = "".join(f"<p><small>{text}</small></p>" for text in said if text)
    return f"<table><tr><th></th>{head}</tr>{rows}</table>{notes}"


def _text(metric: str, value: float) -> str:
    if np.isposinf(value):
        return _("identical")
    return f"{value:.{2 if metric == 'psnr' else 4}f}"


def _remove(pair: tuple) -> None:
    """Take the scores of these two sequences out of the scene."""
    for class_name in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in slicer.util.getNodesByClass(class_name):
            if all(node.GetNodeReference(role) is scored for role, scored in zip(_PAIR, pair, strict=True)):
                slicer.mrmlScene.RemoveNode(node)


def _table(pair: tuple, name: str, columns: Mapping[str, list]):
    node = _add(pair, "vtkMRMLTableNode", name)
    for title, values in columns.items():
        texts = isinstance(values[0], str)
        column = vtkStringArray() if texts else vtkDoubleArray()
        column.SetName(title)
        for value in values:
            # An infinite PSNR, of a frame that equals its reference, has no place on an axis.
            column.InsertNextValue(value if texts or np.isfinite(value) else float("nan"))
        node.AddColumn(column)
    return node


def _add(pair: tuple, class_name: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    for role, scored in zip(_PAIR, pair, strict=True):
        node.SetNodeReferenceID(role, scored.GetID())
    return node
