"""The time axis in the panel of Temporal Interpolation: which frames a run would make, before it is started."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from STEnhanceLib.sequence import ImageSequence

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

REPOSITORY = Path(__file__).parents[2]


def opened(host, module_name: str, frames: int = 20, periodic: bool = True):
    from STEnhanceLib import scene

    panel = host.load_module(REPOSITORY / "STEnhance" / module_name / f"{module_name}.py").panel
    cine = ImageSequence(np.zeros((frames, 1, 8, 8), np.float32), np.eye(4), 50.0 * np.arange(frames), periodic, "cine")
    panel.parameters.inputNode = scene.add_sequence(cine)
    return panel


@pytest.fixture
def panel(host):
    panel = opened(host, "TemporalInterpolation")
    panel.choose("linear")
    return panel


def said(panel) -> str:
    """What stands below the axis, without markup."""
    return re.sub("<[^>]+>", "", panel.ui.timeAxisLabel.text.partition("</table>")[2]).replace("\u00a0", " ")


def set_to(panel, **settings) -> None:
    for name, value in settings.items():
        panel._form._fields[name].write(value)


def ticks(panel, height: float, colour: str) -> int:
    """How many ticks of a colour cross a row of the picture; 0 is its top, 1 its bottom."""
    import qt

    image = panel.ui.timeAxisPicture.pixmap.toImage()
    row = int(height * (image.height() - 1))
    wanted = qt.QColor(colour).rgba()
    hits = np.array([image.pixel(column, row) == wanted for column in range(image.width())])
    return int(np.count_nonzero(np.diff(hits.astype(int)) == 1))


def test_measured_and_generated_frames_are_counted_and_timed_in_one_line(panel):
    set_to(panel, factor=4)
    expected = "20 measured + 60 generated frames, every 12.5 ms, 0 … 987.5 ms, closes the cycle"
    assert said(panel) == expected
    assert "the first frame again at 1000 ms" in panel.ui.timeAxisLabel.text


def test_measured_frames_are_long_ticks_and_generated_ones_short_coloured_ticks(panel):
    from STEnhanceLib.panels import words

    set_to(panel, factor=4)
    assert ticks(panel, 0.2, words.MEASURED_COLOUR) == 20
    assert ticks(panel, 0.2, words.GENERATED_COLOUR) == 0
    assert ticks(panel, 0.8, words.GENERATED_COLOUR) == 60
    assert ticks(panel, 0.8, words.MEASURED_COLOUR) == 20


def test_the_axis_follows_every_choice_at_once(panel):
    from STEnhanceLib.panels import words

    set_to(panel, factor=3)
    assert said(panel).startswith("20 measured + 40 generated frames")
    panel.ui.cyclicCheckBox.click()
    assert said(panel) == "20 measured + 38 generated frames, every 16.67 ms, 0 … 950 ms"
    panel.ui.frameDurationSpinBox.value = 30
    assert said(panel) == "20 measured + 38 generated frames, every 10 ms, 0 … 570 ms"
    set_to(panel, times_ms="0, 12.5, 60, 61")
    assert said(panel) == "2 measured + 2 generated frames, 1 to 47.5 ms apart, 0 … 61 ms"
    assert ticks(panel, 0.2, words.MEASURED_COLOUR) == 2, "and 18 pale ones"


def test_where_measured_frames_are_made_anew_all_are_generated(panel):
    from STEnhanceLib.panels import words

    panel.choose("motion")
    set_to(panel, factor=2, keep_measured=False)
    assert said(panel).startswith("0 measured + 40 generated frames")
    assert ticks(panel, 0.2, words.MEASURED_COLOUR) == 0 and ticks(panel, 0.8, words.GENERATED_COLOUR) == 40


def test_all_methods_of_the_module_show_it(panel):
    from STEnhanceLib.methods import Task, methods_for

    for method in methods_for(Task.TEMPORAL_INTERPOLATION):
        if not method.missing_packages():
            panel.choose(method.key)
            assert not panel.ui.timeAxisWidget.isHidden()
            shown = said(panel)
            assert "measured" in shown or not panel.ui.applyButton.enabled, method.key


def test_where_times_are_wrong_the_sentence_is_there_instead(panel):
    set_to(panel, times_ms="0, 30, 20")
    assert "strictly increasing times" in panel.ui.timeAxisLabel.text
    assert panel.ui.timeAxisPicture.isHidden()
    assert not panel.ui.applyButton.enabled
    assert panel.ui.statusLabel.text == "", "once is enough"
    set_to(panel, times_ms="0, 20, 30")
    assert not panel.ui.timeAxisPicture.isHidden()
    assert said(panel).startswith("1 measured + 2 generated")


def test_one_frame_alone_is_refused_there_too(host):
    panel = opened(host, "TemporalInterpolation", frames=1, periodic=False)
    panel.choose("linear")
    assert "has 1 frame" in panel.ui.timeAxisLabel.text and not panel.ui.applyButton.enabled


def test_without_an_input_there_is_no_axis(panel):
    panel.ui.inputSelector.setCurrentNode(None)
    assert panel.ui.timeAxisWidget.isHidden()
    assert "Select an input sequence first." in panel.ui.statusLabel.text


def test_methods_that_keep_the_moments_show_no_axis(host):
    panel = opened(host, "SuperResolve")
    panel.choose("zero-fill")
    assert panel.ui.timeAxisWidget.isHidden()
    assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
