"""What a run would be given, and what it would make of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from STEnhanceLib import scene
from STEnhanceLib.acquisition import kspace_kind
from STEnhanceLib.beside import seen_from, volume_of
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Enhancement, Method, Need, parse_parameters
from STEnhanceLib.methods.run import announcement
from STEnhanceLib.panels.input_section import corrections
from STEnhanceLib.panels.parameter_node import EnhanceParameterNode
from STEnhanceLib.sequence import Grid


def inputs(parameters: EnhanceParameterNode, method: Method) -> dict[str, Any]:
    """What goes with the sequence, as `enhancing.SceneRun` takes it.

    Raises:
        STEnhanceError: the measurement that the method needs is not there, or as `seen_from`.
    """
    volume = parameters.priorVolume if Need.PRIOR in method.takes else None
    return {
        "prior": volume and seen_from(volume_of(parameters.inputNode), volume, scene.read_volume(volume)),
        "kspace_path": kspace_path(parameters, method),
        "device": parameters.device,
        **corrections(parameters),
    }


def kspace_path(parameters: EnhanceParameterNode, method: Method) -> Path | None:
    """The measurement that the method will be given; None where it takes none, or can do without.

    Raises:
        STEnhanceError: it needs one, or one is named, and there is no such file.
    """
    path = Path(parameters.kspacePath)
    optional = Need.KSPACE not in method.needs and not parameters.kspacePath
    if Need.KSPACE not in method.takes or optional:
        return None
    if not path.is_file():
        raise STEnhanceError(_("This method works on the measurement: choose its k-space file (.npz, or ISMRMRD .h5)."))
    return path


def planned(
    parameters: EnhanceParameterNode, method: Method, settings: Mapping[str, Any], source: Grid | None
) -> Enhancement:
    """What a run would announce: where and when the result lies, and its maps.

    Args:
        parameters: what the user chose.
        method: likewise.
        settings: of the method, see `parse_parameters`.
        source: geometry and time of the input; None where there is none.

    Raises:
        STEnhanceError: why there would be none.
    """
    if source is None:
        if Path(parameters.kspacePath).is_file():
            raise STEnhanceError(_("Select the images of the k-space file as the input sequence, or load its images."))
        raise STEnhanceError(_("Select an input sequence first."))
    method_parameters = parse_parameters(method, settings)
    path = kspace_path(parameters, method)
    if path is not None and method.cartesian_only and kspace_kind.kspace_kind(path) == kspace_kind.RADIAL:
        raise kspace_kind.radial_refused(method.key)
    return announcement(method, source, method_parameters, path is not None)
