"""`qt` as scripts in Slicer know it: PySide6 with the habits of PythonQt.

PythonQt shows Qt properties as attributes (`label.text = "x"`, where `label.text()` fails), connects by signature
(`button.connect("clicked(bool)", f)`), drops arguments that a slot does not take, and refuses new attributes on C++
objects. PySide6's own classes are changed in place, because Qt also makes objects that Python has not constructed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets
from shiboken6 import Shiboken

QObject = QtCore.QObject

# Getters that C++ calls: a Python property in their place would be taken for an override.
VIRTUAL = {"sizeHint", "minimumSizeHint", "spacing", ("QProgressBar", "text")}

_getattribute = QObject.__getattribute__
_static_connect, _static_disconnect = QObject.connect, QObject.disconnect
_slots: dict[tuple, Callable] = {}


def make_module() -> ModuleType:
    """The module `qt`. PySide6 is changed by the first call."""
    names = {name: getattr(source, name) for source in (QtCore, QtGui, QtWidgets) for name in dir(source)}
    classes = [thing for thing in names.values() if isinstance(thing, type) and issubclass(thing, QObject)]
    if QObject.__getattribute__ is _getattribute:
        _show_properties(classes)
        _refuse_new_attributes(classes)
        QObject.__getattribute__ = _attribute
    module = ModuleType("qt", __doc__)
    vars(module).update({name: thing for name, thing in names.items() if name.startswith("Q")})
    module.Signal, module.Slot = QtCore.Signal, QtCore.Slot
    return module


class _QtProperty:
    """Reads and writes a Qt property; on the class it leaves what PySide6 has there, such as `QTimer.singleShot`."""

    def __init__(self, name: str, on_class):
        self.name, self.on_class = name, on_class

    def __get__(self, instance, owner):
        return self.on_class if instance is None else instance.property(self.name)

    def __set__(self, instance, value):
        meta = instance.metaObject()
        if not meta.property(meta.indexOfProperty(self.name)).isWritable():
            raise AttributeError(f"Property '{self.name}' of {meta.className()} is not writable")
        if not instance.setProperty(self.name, value):
            raise ValueError(f"Property '{self.name}' of {meta.className()} cannot be set to {value!r}")


def _show_properties(classes) -> None:
    originals = {(cls, name): getattr(cls, name, None) for cls in classes for name in _own_properties(cls)}
    for (cls, name), original in originals.items():
        setattr(cls, name, _QtProperty(name, original))
    QObject.name = _QtProperty("objectName", None)  # PythonQt's second name for it


def _own_properties(cls) -> list[str]:
    meta = cls.staticMetaObject
    names = [meta.property(i).name() for i in range(meta.propertyOffset(), meta.propertyCount())]
    return [name for name in names if name not in VIRTUAL and (cls.__name__, name) not in VIRTUAL]


def _refuse_new_attributes(classes) -> None:
    for cls in classes:  # each has a setter of its own
        cls.__setattr__ = _set_attribute


def _set_attribute(self, name, value):
    kind = type(self)
    on_class = inspect.getattr_static(kind, name, None)
    if isinstance(on_class, QtCore.Property):
        if on_class.fset is None:
            raise AttributeError(f"Property '{name}' of {kind.__name__} is not writable")
        on_class.fset(self, value)
        return
    if hasattr(type(on_class), "__set__"):
        on_class.__set__(self, value)
        return
    if on_class is None and kind.__module__.startswith(("PySide6", "host.")) and not name.startswith("_"):
        raise AttributeError(
            f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
        )
    self.__dict__[name] = value


def _attribute(self, name):
    # PySide6 looks these up past the class dictionary, so they cannot be replaced there.
    method = _METHODS.get(name)
    return _getattribute(self, name) if method is None else method.__get__(self)


def _connect(self, signal: str, slot: Callable, *more) -> bool:
    if more:  # PySide6 calling itself, as in QTimer.singleShot: (sender, signal, receiver, slot)
        return _static_connect(signal, slot, *more)
    signature = _signature(self, signal)
    taken = _taken(slot)

    def call(*arguments):
        slot(*arguments[:taken])

    # PySide6 passes as many arguments as it counts here, so the count is the signal's own.
    count = len([part for part in signature[signature.index("(") + 1 : -1].split(",") if part])
    names = ", ".join(f"a{i}" for i in range(count))
    received = eval(f"lambda {names}: call({names})", {"call": call})
    _slots[_key(self, signature, slot)] = received
    return bool(_static_connect(self, "2" + signature, received))


def _disconnect(self, signal: str, slot: Callable | None = None) -> bool:
    signature = _signature(self, signal)
    keys = [_key(self, signature, slot)] if slot else [key for key in _slots if key[:2] == (_address(self), signature)]
    received = [_slots.pop(key, None) for key in keys]
    return all([made is not None and _static_disconnect(self, "2" + signature, made) for made in received])  # noqa: C419


def _signature(instance, signal: str) -> str:
    # VTK's pointers travel as Python objects.
    given = re.sub(r"vtkMRML\w+\s*\*", "PyObject", signal)
    signature = bytes(QtCore.QMetaObject.normalizedSignature(given).data()).decode()
    if instance.metaObject().indexOfSignal(signature) < 0:
        raise ValueError(f"{instance.metaObject().className()} has no signal {signal}")
    return signature


def _taken(slot: Callable) -> int | None:
    """How many arguments PythonQt hands to a slot: as many as its code names, also those with a default; None: all."""
    code = getattr(slot, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - inspect.ismethod(slot)


def _address(instance) -> int:
    return Shiboken.getCppPointer(instance)[0]


def _key(instance, signature: str, slot: Callable) -> tuple:
    return _address(instance), signature, slot


def _class_name(self) -> str:
    return self.metaObject().className()


_METHODS = {"connect": _connect, "disconnect": _disconnect, "className": _class_name}
