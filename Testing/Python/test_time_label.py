"""The time in the toolbar of Slicer's sequence browser says of which frames it is generated; nothing of it is saved."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from STEnhanceLib import scene
from STEnhanceLib.publication import Publication

GENERATED, MEASURED = "(generated) 150.00 ms", "100.00 ms"


def published(sequence, result, generated: str) -> Publication:
    """A result beside the sequence that it was made from, of whose frames so many are generated."""
    import slicer

    node = scene.add_sequence(sequence, slicer.mrmlScene)
    publication = Publication(node, result.grid, "result", {"STEnhance.GeneratedFrames": generated})
    for frame in result.frames:
        publication.add_frame(frame)
    publication.finish()
    return publication


@pytest.fixture
def publication(host, coarse, beating_disc):
    """A result with a generated frame after each measured one."""
    return published(coarse, beating_disc, "4 of 8")


class Toolbar:
    """Reads the time when and as qMRMLSequenceBrowserSeekWidget does."""

    def __init__(self, browser):
        self.browser, self.said = browser, []
        for event in ("ModifiedEvent", browser.SequenceNodeModifiedEvent):
            browser.AddObserver(event, self._read)

    def _read(self, browser, _event) -> None:
        time = browser.GetFormattedIndexValue(browser.GetSelectedItemNumber())
        self.said.append(f"{time} {browser.GetMasterSequenceNode().GetIndexUnit()}")

    @property
    def text(self) -> str:
        return self.said[-1]


@pytest.fixture
def panel(host, publication):
    import qt

    from STEnhanceLib.panels.compare_panel import ComparePanel

    frame = qt.QWidget()
    made = ComparePanel(qt.QVBoxLayout(frame))
    yield made
    made.cleanup()
    host.wait(0)
    frame.deleteLater()


@pytest.fixture(params=["began to read before", "began to read after"])
def toolbar(request, panel, publication):
    """Slicer's toolbar may show the browser before the panel follows it, or from later on."""
    made = Toolbar(publication.browser) if request.param.endswith("before") else None
    panel.set_run(publication._input, publication.sequence)
    return made or Toolbar(publication.browser)


def test_the_toolbar_says_generated_at_generated_frames_only(publication, toolbar):
    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED
    publication.browser.SetSelectedItemNumber(2)
    assert toolbar.text.strip() == MEASURED
    assert len(toolbar.text) == len("(generated) " + MEASURED), "or the slider beside it would jump"


def test_also_while_it_plays_and_when_frames_change(publication, toolbar):
    browser = publication.browser
    browser.SetSelectedItemNumber(2)
    toolbar.said.clear()
    browser.SelectNextItem()
    browser.SelectNextItem()
    assert [text.strip() for text in toolbar.said] == [GENERATED, "200.00 ms"], "each frame is shown once"
    browser.SetSelectedItemNumber(3)
    publication.sequence.Modified()
    assert toolbar.text == GENERATED


def test_a_frame_that_is_on_screen_already_is_labelled_at_once(publication):
    from STEnhanceLib.panels import generated_labels

    toolbar = Toolbar(publication.browser)
    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED.removeprefix("(generated) ")
    generated_labels.start()
    assert toolbar.text == GENERATED


def test_the_browser_keeps_the_format_of_the_user(publication, toolbar):
    browser = publication.browser
    browser.SetIndexDisplayFormat("%.0f")
    for number in range(4):
        browser.SetSelectedItemNumber(number)
        assert browser.GetIndexDisplayFormat() == "%.0f"
    assert toolbar.text == "(generated) 150 ms"
    browser.SetIndexDisplayFormat("(generated) %.3f")  # the Sequences module hands back what it read from the browser
    assert browser.GetIndexDisplayFormat() == "%.3f"
    assert toolbar.text == "(generated) 150.000 ms"


def test_a_scene_saved_at_a_generated_frame_opens_with_plain_times(publication, toolbar, tmp_path):
    import slicer

    from STEnhanceLib import headless

    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED
    scene.save_scene(tmp_path / "middle.mrb", slicer.mrmlScene)
    publication.browser.SetSelectedItemNumber(5)
    assert toolbar.text.startswith("(generated)"), "and it goes on"
    elsewhere = headless.new_host()
    scene.load_scene(tmp_path / "middle.mrb", elsewhere.scene)
    browser = elsewhere.scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    assert browser.GetSelectedItemNumber() == 3
    assert [browser.GetFormattedIndexValue(n) for n in (2, 3)] == ["100.00", "150.00"]


def test_two_labels_may_follow_the_same_browser(host, publication, toolbar):
    from STEnhanceLib.panels.time_label import TimeLabel

    second = TimeLabel(publication.browser)
    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED
    second.stop()
    publication.browser.SetSelectedItemNumber(5)
    assert toolbar.text.startswith("(generated) 250")
    assert publication.browser.GetIndexDisplayFormat() == "%.2f"


def test_the_toolbar_is_there_for_all_modules_so_the_word_stays_when_ours_is_left(panel, publication, toolbar):
    from STEnhanceLib.panels import generated_labels

    panel.exit()
    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED
    panel.cleanup()
    publication.browser.SetSelectedItemNumber(5)
    assert toolbar.text.startswith("(generated)")
    generated_labels.stop()
    publication.browser.SetSelectedItemNumber(7)
    assert toolbar.text == "350.00 ms"


def test_without_the_result_the_toolbar_is_as_before(publication, toolbar):
    publication.browser.SetSelectedItemNumber(3)
    assert toolbar.text == GENERATED
    publication.cancel()
    browser = toolbar.browser
    for number in range(4):
        browser.SetSelectedItemNumber(number)
        assert toolbar.text == f"{100 * number}.00 ms"


def test_a_browser_without_generated_frames_is_left_alone(host, panel, coarse):
    publication = published(coarse, coarse, "0 of 4")
    panel.set_run(publication._input, publication.sequence)
    toolbar = Toolbar(publication.browser)
    publication.browser.SetSelectedItemNumber(1)
    assert toolbar.text == MEASURED


def test_nobody_else_hears_of_it_not_even_later(publication, toolbar):
    browser = publication.browser
    browser.SetSelectedItemNumber(3)
    toolbar.said.clear()
    browser.EndModify(browser.StartModify())
    assert toolbar.said == [] and browser.GetModifiedEventPending() == 0
    # What answers a change of the browser by a change of its own would answer that for ever.
    browser.AddObserver("ModifiedEvent", lambda *_: browser.EndModify(browser.StartModify()))
    browser.SetSelectedItemNumber(5)
    assert len(toolbar.said) == 1


def test_a_label_that_ends_while_the_browser_changes_leaves_no_word_in_the_scene(publication, toolbar):
    from STEnhanceLib.panels import generated_labels

    publication.browser.AddObserver("ModifiedEvent", lambda *_: generated_labels.stop())
    publication.browser.SetSelectedItemNumber(3)
    assert publication.browser.GetIndexDisplayFormat() == "%.2f"
