"""The models that a method can compute with: one line each, whose link opens the model card below, or closes it."""

from __future__ import annotations

import html

from slicer.i18n import tr as _

from STEnhanceLib import models
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method
from STEnhanceLib.panels import words


class ModelCards:
    """Shows models and, on demand, one of their cards.

    Args:
        label: a QLabel for rich text.
        browser: a QTextBrowser for the card.
    """

    def __init__(self, label, browser):
        self._label, self._browser = label, browser
        self._open = ""
        label.connect("linkActivated(QString)", self._on_link)

    def show(self, method: Method) -> None:
        """List the models of this method; no card is open."""
        names = models.alike(method.models)
        self._label.text = "<br>".join(_line(name) for name in names)
        self._label.setVisible(bool(names))
        self._close()

    def _on_link(self, name: str) -> None:
        if name == self._open:
            self._close()
            return
        self._browser.setMarkdown(models.find_model(name).card())
        self._browser.setVisible(True)
        self._open = name

    def _close(self) -> None:
        self._browser.setVisible(False)
        self._open = ""


def _line(name: str) -> str:
    try:
        described = models.find_model(name).metadata
    except STEnhanceError as error:
        return words.bad(str(error))
    title = html.escape(f"{described['title']} {described['version']}")
    return _("Model: {title}").format(title=title) + f', <a href="{html.escape(name)}">{_("model card")}</a>'
