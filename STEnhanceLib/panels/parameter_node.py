"""What a panel remembers with the scene: every choice of the user, saved and restored with it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Union

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from STEnhanceLib import device

# Slicer's binding of node selectors understands `Union`, but not `|`.
SequenceOrVolume = Union[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode, None]  # noqa: UP007


def own_settings(parameters: EnhanceParameterNode, method_key: str) -> dict[str, Any]:
    """The values that the user gave this method's parameters; empty where there are none."""
    return json.loads(parameters.settings).get(method_key, {})


def remember_settings(parameters: EnhanceParameterNode, method_key: str, settings: dict[str, Any]) -> None:
    """Keep the values of this method's parameters beside those of the others."""
    parameters.settings = json.dumps({**json.loads(parameters.settings), method_key: settings})


@parameterNodeWrapper
class EnhanceParameterNode:
    """The choices of one panel.

    Attributes:
        inputNode: a sequence, or the volume in which a browser shows one.
        method: key of the method.
        settings: JSON, the parameters of every method by its key.
        priorVolume: static scan, for methods that use one.
        kspacePath: file of the measurement, for methods that use one.
        device: where methods that use torch compute.
        frameDurationMs: overrides the times of the input; 0 keeps them.
        cycle: "yes" or "no" overrides whether the last frame is followed by the first; empty keeps what was found.
        correctionsFor: ID of the input that the two were given for.
        resultName: of the new sequence; empty for input and method.
        keepPartial: keep the finished frames when a run is cancelled.
    """

    inputNode: SequenceOrVolume
    method: str = ""
    settings: str = "{}"
    priorVolume: slicer.vtkMRMLScalarVolumeNode
    kspacePath: str = ""
    device: str = device.CHOICES[0]
    frameDurationMs: Annotated[float, WithinRange(0, 60000)] = 0.0
    cycle: str = ""
    correctionsFor: str = ""
    resultName: str = ""
    keepPartial: bool = False
