"""Which widget can show which type of parameter, and how; the rules are those of Slicer's GUI connectors."""

from __future__ import annotations

import enum
import pathlib

import ctk
import qt
import slicer

FLOATS = (qt.QDoubleSpinBox, ctk.ctkSliderWidget)


class Binding:
    """One widget and the parameter that it shows."""

    def __init__(self, widget, parameter):
        from host.parameter_node import Choice, Decimals, SingleStep

        self.widget, self.parameter = widget, parameter
        shown, kind = type(widget), parameter.kind
        is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        is_path = isinstance(kind, type) and issubclass(kind, pathlib.PurePath)
        self._convert = self._convert_back = lambda value: value
        if kind is bool and shown in (qt.QCheckBox, qt.QPushButton):
            self._property, self._signal = "checked", "toggled(bool)"
        elif kind is int and shown in (qt.QSpinBox, qt.QSlider):
            self._property, self._signal = "value", "valueChanged(int)"
            self._bound(-(2**31), 2**31 - 1, must=shown is qt.QSlider)
        elif kind in (int, float) and shown in FLOATS:
            self._property, self._signal = "value", "valueChanged(double)"
            self._convert = kind
            self._bound(float("-inf"), float("inf"), must=shown is ctk.ctkSliderWidget)
            decimals = Decimals(0) if kind is int else parameter.annotation(Decimals)
            if decimals is not None:
                widget.decimals = decimals.value
        elif (kind in (int, float, str, bool) or is_enum) and shown is qt.QComboBox:
            choice = parameter.annotation(Choice)
            if choice is None and not is_enum:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            choices = list(kind) if is_enum else list(choice.choices)
            widget.clear()
            widget.addItems([_label(value) for value in choices])
            self._property, self._signal = "currentIndex", "currentIndexChanged(int)"
            self._convert, self._convert_back = choices.__getitem__, choices.index
        elif kind is str and shown in (qt.QLineEdit, qt.QLabel):
            self._property, self._signal = "text", "textChanged(QString)" if shown is qt.QLineEdit else None
        elif is_path and shown is ctk.ctkPathLineEdit:
            self._property, self._signal = "currentPath", "currentPathChanged(QString)"
            self._convert, self._convert_back = kind, str
        elif parameter.is_node and shown is slicer.qMRMLNodeComboBox:
            self._property, self._signal = None, "currentNodeChanged(vtkMRMLNode*)"
            # As in Slicer, the type of the parameter replaces the node types of the .ui file.
            widget.nodeTypes = [made().GetClassName() for made in parameter.node_kinds]
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{shown}'.")
        step = parameter.annotation(SingleStep)
        if step is not None and hasattr(widget, "singleStep"):
            widget.singleStep = step.value

    def _bound(self, lowest, highest, must: bool) -> None:
        from host.parameter_node import Maximum, Minimum, WithinRange

        both = self.parameter.annotation(WithinRange)
        low, high = both or self.parameter.annotation(Minimum), both or self.parameter.annotation(Maximum)
        if must and not (low and high):
            raise RuntimeError(f"Cannot have a connection to {type(self.widget).__name__} where the type is unbounded.")
        self.widget.setRange(low.minimum if low else lowest, high.maximum if high else highest)

    def read(self):
        if self._property is None:
            return self.widget.currentNode()
        return self._convert(getattr(self.widget, self._property))

    def write(self, value) -> None:
        if self._property is None:
            self.widget.setCurrentNode(value)
        elif getattr(self.widget, self._property) != self._convert_back(value):
            setattr(self.widget, self._property, self._convert_back(value))

    def connect(self, changed) -> None:
        self._changed = changed
        if self._signal:
            self.widget.connect(self._signal, changed)

    def disconnect(self) -> None:
        if self._signal:
            self.widget.disconnect(self._signal, self._changed)


def _label(value) -> str:
    label = getattr(type(value), "label", None)
    return label(value) if label else value.name if isinstance(value, enum.Enum) else str(value)
