"""What the tests of the section "Compare" share: a finished run, the section, and how to click and wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from STEnhanceLib.publication import Publication
from STEnhanceLib.scene import add_sequence
from STEnhanceLib.sequence import ImageSequence

BEFORE, AFTER, REFERENCE, DIFFERENCE = ("STEnhance" + n for n in ("Before", "After", "Reference", "Difference"))


@pytest.fixture
def coarse(beating_disc) -> ImageSequence:
    """Every second frame and every second sample in plane of the disc."""
    grid = beating_disc.grid.resampled((3, 20, 24))
    return ImageSequence(
        beating_disc.frames[::2, :, ::2, ::2].copy(), grid.ijk_to_ras, beating_disc.times_ms[::2], True, "cine"
    )


@pytest.fixture
def run(host, coarse, beating_disc):
    """Input and a brighter, twice finer result in one browser, as after a run: (browser, input, result)."""
    import slicer

    node = add_sequence(coarse, slicer.mrmlScene)
    brighter = beating_disc.frames * np.float32(1.1)
    publication = Publication(node, beating_disc.grid, "cine (enhanced)")
    for frame in brighter:
        publication.add_frame(frame)
    publication.finish()
    return publication.browser, node, publication.sequence


@pytest.fixture
def reference(run, beating_disc):
    """The truth, loaded on its own: in another browser, with an index in seconds."""
    import slicer

    return add_sequence(replace(beating_disc, name="truth"), slicer.mrmlScene)


@pytest.fixture
def panel(host, run):
    import qt

    from STEnhanceLib.panels.compare_panel import ComparePanel

    frame = qt.QWidget()
    made = ComparePanel(qt.QVBoxLayout(frame))
    made.set_run(*run[1:])
    host.show_views()
    yield made
    made.cleanup()
    host.wait(0)
    frame.deleteLater()


def compare(host, panel) -> None:
    panel.ui.compareButton.click()
    settle(host, panel)


def settle(host, panel) -> None:
    host.wait_until(lambda: not panel.busy)
    host.wait(0.1)  # the views get their size, then they are fitted


def composite(view: str):
    import slicer

    return slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()


def slice_node(view: str):
    import slicer

    return slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")
