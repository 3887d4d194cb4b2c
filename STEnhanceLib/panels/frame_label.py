"""What is on screen: a frame that a scanner measured, or one that was generated between such frames."""

from __future__ import annotations

import html
import math
from collections.abc import Callable

from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from STEnhanceLib.beside import shown_frame
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.node_times import frame_times
from STEnhanceLib.origin import FRAME_ATTRIBUTES, FRAME_GENERATED, GENERATED_FRAMES, Origin, says_generated
from STEnhanceLib.panels import words
from STEnhanceLib.scene import find_sequence, frame_origins


class FrameLabel(VTKObservationMixin):
    """Says so in the section "Compare"; for views and toolbar see `generated_labels`.

    Args:
        on_text: called with a line of rich text; empty where there is nothing to say.
    """

    def __init__(self, on_text: Callable[[str], None]):
        VTKObservationMixin.__init__(self)
        self._on_text = on_text
        self._result = self._browser = None

    def follow(self, result_node) -> None:
        """Tell of this result from now on, in the place of the one before; None for nothing."""
        self.stop()
        self._result, self._browser = result_with_generated_frames(result_node)
        if self._browser is not None:
            self.addObserver(self._browser, "ModifiedEvent", self.update)
            self.update()

    def update(self, _caller=None, _event=None) -> None:
        """Another frame is on screen."""
        origin = None if self._result is None else origin_on_screen(self._result, self._browser)
        if origin is None:
            return
        where = _("at the moment of a measured frame")
        if math.isnan(origin.distance_ms):
            where = _("nobody noted how far from a measured frame")
        elif origin.distance_ms:
            where = _("{distance:.1f} ms from the nearest measured frame").format(distance=origin.distance_ms)
        told = where
        if origin.generated:
            told = words.coloured(words.GENERATED_COLOUR, f"{words.generated_by(origin.method)}, {where}")
        index = shown_frame(self._result, self._browser)
        place = _("Frame {number} of {count}, {time:.1f} ms").format(
            number=index + 1,
            count=self._result.GetNumberOfDataNodes(),
            time=float(frame_times(self._result)[0][index]),
        )
        self._on_text(f"{html.escape(place)}: {told}")

    def stop(self) -> None:
        """Say nothing more."""
        self.removeObservers()
        if self._result is not None:
            self._on_text("")
        self._result = self._browser = None


def origin_on_screen(sequence_node, browser) -> Origin | None:
    """Where the frame of this sequence that is on screen comes from; None where nothing is known of it."""
    if sequence_node.GetNumberOfDataNodes() == 0:
        return None
    index = shown_frame(sequence_node, browser)
    frame = sequence_node.GetNthDataNode(index)
    if frame is None:
        return None
    if frame.GetAttribute(FRAME_GENERATED) is not None:
        return Origin.read({name: frame.GetAttribute(name) or "" for name in FRAME_ATTRIBUTES})
    if says_generated({GENERATED_FRAMES: sequence_node.GetAttribute(GENERATED_FRAMES) or "0 of"}):
        return frame_origins(sequence_node)[index]  # its frames lost what they said
    return None


def result_with_generated_frames(node):
    """(sequence node, browser node) of what is to be labelled; (None, None) where there is nothing to say of it."""
    try:
        sequence, browser = find_sequence(node)
    except STEnhanceError:
        return None, None
    return (sequence, browser) if browser is not None and has_generated_frames(sequence) else (None, None)


def has_generated_frames(sequence_node) -> bool:
    """Whether frames of it are generated, or will be."""
    if says_generated({GENERATED_FRAMES: sequence_node.GetAttribute(GENERATED_FRAMES) or "0 of"}):
        return True  # though perhaps not yet
    frames = (sequence_node.GetNthDataNode(n) for n in range(sequence_node.GetNumberOfDataNodes()))
    # A sequence that a scene is being read into has no frames yet at the index values it knows.
    return any(frame is not None and frame.GetAttribute(FRAME_GENERATED) == "yes" for frame in frames)
