"""Images for a k-space file that came without any: gridded in the background, and taken as the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from STEnhanceLib import scene
from STEnhanceLib.jobs.gridding_in_background import GriddingInBackground
from STEnhanceLib.panels import session
from STEnhanceLib.panels.steps import Steps


class KSpaceImages:
    """The button that loads them.

    Args:
        button: a QPushButton; hidden while there is nothing to load.
        on_loaded: called with the new sequence node.
        say: called with a text and whether it is bad news.
    """

    def __init__(self, button, on_loaded: Callable, say: Callable[[str, bool], None]):
        self._button, self._on_loaded, self._say = button, on_loaded, say
        self._path = Path()
        self._steps = Steps(self._on_error)
        button.connect("clicked(bool)", lambda _on: self.load())

    @property
    def busy(self) -> bool:
        """Images are being gridded."""
        return self._steps.busy

    def offer(self, path: str, path_of_input: str) -> None:
        """Show the button where there is a k-space file, and the input is not what belongs to it."""
        self._path = Path(path)
        self._button.setVisible(self._path.is_file() and self._path != Path(path_of_input))

    def load(self) -> None:
        """Grid them; the scene is touched when they are there."""
        self._button.enabled = False
        self._say(_("Gridding the images of {file}…").format(file=self._path.name), False)
        self._steps.start(self._load(self._path))

    def stop(self) -> None:
        """Give up; the scene stays as it was."""
        self._steps.stop()
        self._button.enabled = True

    def _load(self, path: Path) -> Generator[None, None, None]:
        gridding = GriddingInBackground(path, session.python())
        try:
            while (images := gridding.poll()) is None:
                yield
            attributes = {**images.attributes, scene.KSPACE_FILE: str(path)}
            node = scene.add_sequence(dataclasses.replace(images, attributes=attributes))
            del images  # Windows deletes no file that is open
        finally:
            gridding.close()
        self._button.enabled = True
        browser = scene.find_sequence(node)[1]
        slicer.modules.sequences.showSequenceBrowser(browser)
        slicer.util.setSliceViewerLayers(background=browser.GetProxyNode(node), fit=True)
        self._on_loaded(node)

    def _on_error(self, sentence: str) -> None:
        self._button.enabled = True
        self._say(sentence, True)
