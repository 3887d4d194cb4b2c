"""Builds the widgets of a method's parameters from its declaration, so that a new method needs no line of Qt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import qt
from slicer.i18n import tr as _

from STEnhanceLib.methods.declaration import Method


class ParameterForm:
    """The rows of one method in a `QFormLayout`.

    Args:
        layout: an empty QFormLayout; it is emptied again when the method changes.
        on_change: called without arguments after every edit by the user.
    """

    def __init__(self, layout, on_change: Callable[[], None]):
        self._layout = layout
        self._tell = on_change
        self._fields: dict[str, _Field] = {}
        self._building = False

    def show(self, method: Method, settings: Mapping[str, Any]) -> None:
        """Build the rows of this method, with these values where they are known and the defaults elsewhere."""
        self._building = True
        while self._layout.rowCount():
            self._layout.removeRow(0)
        types = get_type_hints(method.parameters)
        self._fields = {}
        for field in dataclasses.fields(method.parameters):
            made = _field_for(field, types[field.name], self._on_change)
            made.write(settings.get(field.name, field.default))
            made.widget.toolTip = field.metadata["help"]
            label = qt.QLabel(label_of(field) + ":")
            label.toolTip = field.metadata["help"]
            self._layout.addRow(label, made.widget)
            self._fields[field.name] = made
        self._building = False

    def _on_change(self) -> None:
        if not self._building:  # only what the user does counts
            self._tell()

    def settings(self) -> dict[str, Any]:
        """What the user chose, by the names of the parameters; None where nothing was chosen."""
        return {name: field.read() for name, field in self._fields.items()}


@dataclasses.dataclass
class _Field:
    widget: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]


def _field_for(field: dataclasses.Field, wanted: Any, on_change: Callable[[], None]) -> _Field:
    kinds = getattr(wanted, "__args__", (wanted,))
    kind = next(k for k in kinds if k is not type(None))
    if field.metadata["choices"] is not None:
        return _choice(field.metadata["choices"], on_change)
    if kind is bool:
        box = qt.QCheckBox()
        box.connect("toggled(bool)", lambda _on: on_change())
        return _Field(box, lambda: box.checked, lambda value: setattr(box, "checked", bool(value)))
    if kind is int and type(None) not in kinds:
        return _whole_number(field.metadata, on_change)
    if kind is float and type(None) not in kinds:
        return _number(field.metadata, on_change)
    return _text(field.metadata, None if type(None) in kinds else "", on_change)


def _choice(choices, on_change) -> _Field:
    box = qt.QComboBox()
    box.addItems([str(choice) for choice in choices])
    box.connect("currentIndexChanged(int)", lambda _index: on_change())
    return _Field(
        box,
        lambda: choices[box.currentIndex],
        lambda value: box.setCurrentIndex([str(choice) for choice in choices].index(str(value))),
    )


def _whole_number(limits: Mapping[str, Any], on_change) -> _Field:
    box = qt.QSpinBox()
    box.setRange(_or(limits["minimum"], -(2**31)), _or(limits["maximum"], 2**31 - 1))
    box.suffix = _unit(limits)
    box.connect("valueChanged(int)", lambda _value: on_change())
    return _Field(box, lambda: box.value, lambda value: box.setValue(int(value)))


def _number(limits: Mapping[str, Any], on_change) -> _Field:
    box = qt.QDoubleSpinBox()
    low, high = _or(limits["minimum"], -1e9), _or(limits["maximum"], 1e9)
    span = high - low
    box.decimals = 2 if span > 1 else 4
    box.setRange(low, high)
    box.singleStep = 0.5 if span > 5 else span / 20
    box.suffix = _unit(limits)
    box.connect("valueChanged(double)", lambda _value: on_change())
    return _Field(box, lambda: box.value, lambda value: box.setValue(float(value)))


def _text(limits: Mapping[str, Any], unset: str | None, on_change) -> _Field:
    edit = qt.QLineEdit()
    unit = limits["unit"]
    edit.placeholderText = _("leave empty, or give it in {unit}").format(unit=unit) if unit else _("may be left empty")
    edit.connect("textChanged(QString)", lambda _text: on_change())
    return _Field(
        edit, lambda: edit.text.strip() or unset, lambda value: edit.setText("" if value is None else str(value))
    )


def label_of(field: dataclasses.Field) -> str:
    """What the panel calls a parameter."""
    plain = field.name.removesuffix("_ms").removesuffix("_mm").replace("_", " ").capitalize()
    return _(field.metadata["label"] or plain)


def _unit(limits: Mapping[str, Any]) -> str:
    return f" {limits['unit']}" if limits["unit"] else ""


def _or(value, otherwise):
    return otherwise if value is None else value
