"""`ctk`: the few of its widgets that our panels use, with CTK's property and signal names."""

from __future__ import annotations

import fnmatch
import re

import qt
from PySide6.QtCore import Property, Signal

HEADER_HEIGHT = 24


class ctkCollapsibleButton(qt.QAbstractButton):
    """A titled section. Like CTK's, it is a checkable button whose children are its contents."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(qt.QSizePolicy.Minimum, qt.QSizePolicy.Preferred)
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)
        self._wanted, self._forcing = {}, False  # what others said of the visibility of a child
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _collapse(self, collapsed: bool) -> None:
        for child in self.children():
            if isinstance(child, qt.QWidget):
                self._show_child(child)
        self.setMaximumHeight(HEADER_HEIGHT if collapsed else 2**24 - 1)
        self.contentsCollapsed.emit(collapsed)

    def _show_child(self, child) -> None:
        """A child of a collapsed section is hidden, also where it was shown a moment ago."""
        self._forcing = True
        child.setVisible(self.isChecked() and self._wanted.get(child, True))
        self._forcing = False

    def childEvent(self, event) -> None:
        if event.type() == qt.QEvent.ChildAdded and isinstance(event.child(), qt.QWidget):
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child, event) -> bool:
        kinds = {qt.QEvent.ShowToParent: True, qt.QEvent.HideToParent: False}
        if not self._forcing and event.type() in kinds:
            self._wanted[child] = kinds[event.type()]
            if self._wanted[child] and not self.isChecked():
                self._show_child(child)
        return False

    def _set_collapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: not self.isChecked(), _set_collapsed)

    def setCollapsed(self, collapsed: bool) -> None:
        self._set_collapsed(collapsed)

    def hitButton(self, position) -> bool:
        return position.y() < HEADER_HEIGHT

    def sizeHint(self):
        contents = self.layout().totalSizeHint() if self.layout() and self.isChecked() else qt.QSize(0, HEADER_HEIGHT)
        return contents.expandedTo(qt.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, HEADER_HEIGHT))

    minimumSizeHint = sizeHint

    def paintEvent(self, _event) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, HEADER_HEIGHT - 4)
        self.style().drawControl(qt.QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = qt.QRect(6, 4, 12, 12)
        element = qt.QStyle.PE_IndicatorArrowDown if self.isChecked() else qt.QStyle.PE_IndicatorArrowRight
        self.style().drawPrimitive(element, arrow, painter, self)
        painter.drawText(option.rect.adjusted(24, 0, 0, 0), qt.Qt.AlignLeft | qt.Qt.AlignVCenter, self.text)
        painter.end()


class ctkSliderWidget(qt.QWidget):
    """A slider and a spin box of the same float."""

    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._spin = qt.QSlider(qt.Qt.Horizontal, self), qt.QDoubleSpinBox(self)
        self._spin.setRange(0, 99)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self._spin.valueChanged.connect(self._on_spin)
        self._slider.valueChanged.connect(lambda step: self._spin.setValue(self.minimum + step * self.singleStep))
        self._fit()

    def _fit(self) -> None:
        self._slider.blockSignals(True)
        self._slider.setRange(0, round((self.maximum - self.minimum) / (self.singleStep or 1)))
        self._slider.setValue(round((self.value - self.minimum) / (self.singleStep or 1)))
        self._slider.blockSignals(False)

    def _on_spin(self, value: float) -> None:
        self._fit()
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._spin.setRange(minimum, maximum)
        self._fit()

    def _of_spin(kind, name):
        def write(self, value):
            setattr(self._spin, name, value)
            self._fit()

        return Property(kind, lambda self: getattr(self._spin, name), write)

    value, minimum, maximum = _of_spin(float, "value"), _of_spin(float, "minimum"), _of_spin(float, "maximum")
    singleStep, decimals = _of_spin(float, "singleStep"), _of_spin(int, "decimals")
    prefix, suffix = _of_spin(str, "prefix"), _of_spin(str, "suffix")


class ctkPathLineEdit(qt.QWidget):
    """A path, and a button to browse for it. As CTK's, it tells of a path that its name filters allow, and no other."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Readable, Writable = 0x1, 0x2, 0x10, 0x20

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box, browse = qt.QComboBox(self), qt.QToolButton(self)
        self._box.setEditable(True)
        self._edit = self._box.lineEdit()
        browse.setText("...")
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box, 1)
        row.addWidget(browse)
        self._edit.textChanged.connect(self._on_text)
        self._valid = False
        self._settings = {"nameFilters": [], "filters": self.Files, "settingKey": "", "label": "", "options": 0}
        self._settings["showBrowseButton"] = self._settings["showHistoryButton"] = True

    def _on_text(self, path: str) -> None:
        patterns = [pattern for given in self.nameFilters for pattern in re.sub(r".*\((.*)\)$", r"\1", given).split()]
        before, self._valid = self._valid, any(fnmatch.fnmatchcase(path, one) for one in patterns or ["?*"])
        if self._valid:
            self.currentPathChanged.emit(path)
        if self._valid != before:
            self.validInputChanged.emit(self._valid)

    def comboBox(self):
        return self._box

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    def addCurrentPathToHistory(self) -> None:
        """CTK remembers the path in the settings under `settingKey`."""

    def _kept(kind, name):
        return Property(
            kind, lambda self: self._settings[name], lambda self, value: self._settings.update({name: value})
        )

    currentPath = Property(str, lambda self: self._edit.text, setCurrentPath)
    nameFilters, filters = _kept("QStringList", "nameFilters"), _kept(int, "filters")
    settingKey, label, options = _kept(str, "settingKey"), _kept(str, "label"), _kept(int, "options")
    showBrowseButton = _kept(bool, "showBrowseButton")
    showHistoryButton = _kept(bool, "showHistoryButton")


class ctkMessageBox(qt.QMessageBox):
    """What `slicer.util.messageBox` shows; like every modal dialog here it is recorded instead."""

    dontShowAgainSettingsKey = ""
