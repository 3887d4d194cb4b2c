"""The list of a module's methods: what suits the input comes first, what cannot run is grey with the reason."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from STEnhanceLib.acquisition import kspace_kind
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import Method, Need, Task, find_method, methods_for
from STEnhanceLib.models import find_model

_GREY, _BLACK = 0, 33  # Qt.NoItemFlags; Qt.ItemIsEnabled | Qt.ItemIsSelectable


class MethodSelector:
    """Fills a QComboBox with the methods of a task.

    Args:
        box: an empty QComboBox.
        task: which methods it offers.
    """

    def __init__(self, box, task: Task):
        self._box, self._task = box, task
        self._has_kspace, self._kind = False, kspace_kind.UNKNOWN
        self._fill()
        self.select(self._suggested().key)

    @property
    def method(self) -> Method:
        """The chosen method."""
        return find_method(self._box.itemData(self._box.currentIndex))

    def select(self, key: str) -> None:
        """Choose a method; an unknown key, as of a scene from a newer version, leaves the choice as it is."""
        row = self._box.findData(key)
        if row >= 0:
            self._box.setCurrentIndex(row)

    def offer(self, has_kspace: bool, kind: str = kspace_kind.UNKNOWN) -> None:
        """The measurement is at hand, or not, and of which kind it is; the choice stays."""
        if (has_kspace, kind) != (self._has_kspace, self._kind):
            self._has_kspace, self._kind = has_kspace, kind
            self.refill()

    def suggest(self) -> bool:
        """Choose what helps most with what is at hand; whether that is another choice. Nothing is signalled."""
        before, key = self.method.key, self._suggested().key
        self._box.blockSignals(True)
        self.select(key)
        self._box.blockSignals(False)
        return key != before

    def refill(self) -> None:
        """Packages have been installed: what was grey may be black now; the choice stays."""
        key = self.method.key
        self._box.blockSignals(True)
        self._box.clear()
        self._fill()
        self.select(key)
        self._box.blockSignals(False)

    def _fill(self) -> None:
        for row, method in enumerate(self._in_order()):
            obstacle, title = self._obstacle(method), _(method.title)
            if obstacle:
                title += " – " + obstacle
            self._box.addItem(title, method.key)
            why_not = _("Cannot run: it {obstacle}.").format(obstacle=obstacle) + " " if obstacle else ""
            self._box.setItemData(row, why_not + _(method.summary), qt.Qt.ToolTipRole)
            self._box.setItemData(row, _GREY if obstacle else _BLACK, qt.Qt.UserRole - 1)  # the item's flags

    def _in_order(self) -> list[Method]:
        """What can run first, and of that, what makes use of the measurement where there is one."""
        return sorted(
            methods_for(self._task),
            key=lambda method: (bool(self._obstacle(method)), self._has_kspace and Need.KSPACE not in method.takes),
        )

    def _obstacle(self, method: Method) -> str:
        """Why it cannot run; empty where it can."""
        missing = method.missing_packages()
        if missing:
            return _("needs {packages}, not installed").format(packages=", ".join(missing))
        if Need.KSPACE in method.needs and not self._has_kspace:
            return _("needs the k-space file of the measurement")
        if self._kind == kspace_kind.RADIAL and method.cartesian_only:
            return _("needs Cartesian k-space, and this is radial")
        return ""

    def _suggested(self) -> Method:
        """What does more than a baseline, and never what invents; with a measurement, what does more than show it."""
        usable = [m for m in self._in_order() if not self._obstacle(m) and Need.PRIOR not in m.needs]
        on_kspace = [method for method in usable if self._has_kspace and Need.KSPACE in method.takes]
        sober = [method for method in on_kspace or usable if not (method.baseline or method.generative)]
        best = [method for method in sober if _is_there(method.models)]
        return (best or on_kspace[-1:] or usable)[0]


def _is_there(models: tuple[str, ...]) -> bool:
    try:
        return all(find_model(name) for name in models)
    except STEnhanceError:
        return False
