"""`slicer.parameterNodeWrapper`: typed fields kept in a parameter node, bound to widgets by `SlicerParameterName`.

Of Slicer's types there are bool, int, float, str, paths, enumerations, nodes and unions of nodes. What Slicer refuses
is refused: a value out of range, a slider without bounds, a combo box without `Choice`, a widget that does not fit.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import weakref
from dataclasses import dataclass

import qt
import slicer

__all__ = [
    "Choice", "Decimals", "Default", "Maximum", "Minimum", "SingleStep", "SlicerParameterNamePropertyName",
    "WithinRange", "parameterNodeWrapper",
]  # fmt: skip

SlicerParameterNamePropertyName = "SlicerParameterName"


class Default:
    """The value a parameter starts with."""

    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


@dataclass
class Decimals:
    """Digits that a spin box or slider shows."""

    value: int


@dataclass
class SingleStep:
    """Step of a spin box or slider."""

    value: float


@dataclass
class WithinRange:
    """Inclusive bounds."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum:
    """Lower bound."""

    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must not be less than {self.minimum}, is {value}")


@dataclass
class Maximum:
    """Upper bound."""

    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must not be greater than {self.maximum}, is {value}")


@dataclass
class Choice:
    """One of these values."""

    choices: typing.Sequence

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


class _Parameter:
    """One field: how it is written to and read from the node."""

    def __init__(self, name: str, annotated, assigned=None):
        self.name = name
        stub = typing.Annotated[annotated, None]
        self.kind, *self.annotations = typing.get_args(stub)[:-1]
        members = typing.get_args(self.kind) if _is_union(self.kind) else (self.kind,)
        self.node_kinds = [kind for kind in members if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)]
        self.is_node = bool(self.node_kinds)
        known = self.kind in (bool, int, float, str) or self._is(pathlib.PurePath) or self._is(enum.Enum)
        if not known and set(members) - {*self.node_kinds, types.NoneType}:
            raise TypeError(f"Unable to create serializer for {self.kind} member {name}")
        given = assigned if isinstance(assigned, Default) else self.annotation(Default)
        self.default = given or Default(assigned if assigned is not None else self._zero())

    def _is(self, kind) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, kind)

    def _zero(self):
        if self.is_node:
            return None
        return next(iter(self.kind)) if self._is(enum.Enum) else self.kind()

    def annotation(self, kind):
        return next((note for note in self.annotations if isinstance(note, kind)), None)

    def write(self, node, value) -> None:
        for note in self.annotations:
            if hasattr(note, "validate"):
                note.validate(value)
        self._check_type(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            else:
                node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def _check_type(self, value) -> None:
        accepted = tuple(self.node_kinds) if self.is_node else (int, float) if self.kind is float else self.kind
        if not (self.is_node and value is None) and not isinstance(value, accepted):
            raise TypeError(f"Value must be of type '{accepted}', is type '{type(value)}' value '{value}'")

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not node.HasParameter(self.name):
            self.write(node, self.default.value)
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if self._is(enum.Enum) else self.kind(text)


def _is_union(kind) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def parameterNodeWrapper(cls=None):
    """Class decorator: the annotated fields become properties of a parameter node."""
    if cls is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, kind, getattr(cls, name, None)) for name, kind in hints.items()}
    for name, parameter in parameters.items():
        setattr(cls, name, _field(parameter))
    for name in ("allParameters", *_METHODS):
        if hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    cls.allParameters, cls.__init__ = parameters, _init
    for name, method in _METHODS.items():
        setattr(cls, name, method)
    return cls


def _field(parameter: _Parameter) -> property:
    return property(lambda self: self._kept[parameter.name], lambda self, value: _write(self, parameter, value))


def _write(self, parameter: _Parameter, value) -> None:
    with slicer.util.NodeModify(self.parameterNode):  # whoever is told of it reads the new value
        parameter.write(self.parameterNode, value)
        self._kept[parameter.name] = parameter.read(self.parameterNode)


def _init(self, parameterNode):
    self.parameterNode = parameterNode
    self._bindings, self._updating = {}, False
    for name, parameter in self.allParameters.items():
        if not parameterNode.HasParameter(name):
            parameter.write(parameterNode, parameter.default.value)
    # Like Slicer, which reads values once, and again when the node tells of a change: a node that went does not count.
    _read(self)
    me = weakref.ref(self)
    parameterNode.AddObserver("ModifiedEvent", lambda *_: me() and _read(me()))


def _read(self) -> None:
    self._kept = {name: parameter.read(self.parameterNode) for name, parameter in self.allParameters.items()}


def _connect_gui(self, gui) -> int:
    children = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
    named = {child.property(SlicerParameterNamePropertyName): child for child in children}
    return _connect_parameters(self, {name: child for name, child in named.items() if name})


def _connect_parameters(self, widgets: dict) -> int:
    from host.parameter_widgets import Binding

    for name in widgets:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
    bindings = [Binding(widget, self.allParameters[name]) for name, widget in widgets.items()]
    for binding in bindings:
        binding.write(self.getValue(binding.parameter.name))
        binding.connect(_on_edit(self, binding))
    observer = self.AddObserver("ModifiedEvent", lambda *_: _on_node(self))
    tag = max(self._bindings, default=-1) + 1
    self._bindings[tag] = (bindings, observer)
    return tag


def _on_edit(self, binding):
    def edited():
        if not self._updating:
            with slicer.util.NodeModify(self):
                self.setValue(binding.parameter.name, binding.read())

    return edited


def _on_node(self) -> None:
    if self._updating:
        return
    self._updating = True
    try:
        for bindings, _observer in self._bindings.values():
            for binding in bindings:
                binding.write(self.getValue(binding.parameter.name))
    finally:
        self._updating = False


def _disconnect_gui(self, tag) -> None:
    if tag in self._bindings:
        bindings, observer = self._bindings.pop(tag)
        self.RemoveObserver(observer)
        for binding in bindings:
            binding.disconnect()


def _get_value(self, name: str):
    return getattr(self, name)


def _set_value(self, name: str, value) -> None:
    setattr(self, name, value)


_METHODS = {
    "connectGui": _connect_gui,
    "connectParametersToGui": _connect_parameters,
    "disconnectGui": _disconnect_gui,
    "getValue": _get_value,
    "setValue": _set_value,
    "default": lambda self, name: self.allParameters[name].default,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, was: self.parameterNode.EndModify(was),
    "AddObserver": lambda self, event, f, priority=0.0: self.parameterNode.AddObserver(event, f, priority),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}
