"""The list of a module's methods: what can run is black, what cannot is grey with the reason."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from STEnhanceLib.methods import Method, Task, find_method, methods_for

_GREY, _BLACK = 0, 33  # Qt.NoItemFlags; Qt.ItemIsEnabled | Qt.ItemIsSelectable


class MethodSelector:
    """Fills a QComboBox with the methods of a task.

    Args:
        box: an empty QComboBox.
        task: which methods it offers.
    """

    def __init__(self, box, task: Task):
        self._box, self._task = box, task
        self._fill()
        # With images alone, as most users have them; a trained network before what any viewer can do.
        usable = [method for method in methods_for(task) if not method.missing_packages() and not method.needs]
        self.select(next((method for method in usable if method.models), usable[0]).key)

    @property
    def method(self) -> Method:
        """The chosen method."""
        return find_method(self._box.itemData(self._box.currentIndex))

    def select(self, key: str) -> None:
        """Choose a method; an unknown key, as of a scene from a newer version, leaves the choice as it is."""
        row = self._box.findData(key)
        if row >= 0:
            self._box.setCurrentIndex(row)

    def refill(self) -> None:
        """Packages have been installed: what was grey may be black now; the choice stays."""
        key = self.method.key
        self._box.blockSignals(True)
        self._box.clear()
        self._fill()
        self.select(key)
        self._box.blockSignals(False)

    def _fill(self) -> None:
        for row, method in enumerate(methods_for(self._task)):
            missing, title = method.missing_packages(), _(method.title)
            if missing:
                title += " – " + _("needs {packages}, not installed").format(packages=", ".join(missing))
            self._box.addItem(title, method.key)
            self._box.setItemData(row, _(method.summary), qt.Qt.ToolTipRole)
            self._box.setItemData(row, _GREY if missing else _BLACK, qt.Qt.UserRole - 1)  # the item's flags
