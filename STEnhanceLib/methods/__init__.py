"""The methods a user can pick, one file each; found by looking into this folder, so adding one is adding a file."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, SideMap, Task, parse_parameters

__all__ = [
    "EnhancedFrame", "Enhancement", "Method", "Need", "SideMap", "Task", "all_methods", "find_method",
    "methods_for", "parse_parameters",
]  # fmt: skip


@functools.cache
def all_methods() -> Mapping[str, Method]:
    """Every method by its key, ordered by task and then as a menu should show them (baselines first)."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    found = [module.METHOD for module in modules if hasattr(module, "METHOD")]
    tasks = list(Task)
    return {method.key: method for method in sorted(found, key=lambda m: (tasks.index(m.task), m.rank, m.key))}


def methods_for(task: Task) -> list[Method]:
    """The methods of one module."""
    return [method for method in all_methods().values() if method.task is task]


def find_method(key: str) -> Method:
    """The method of this key.

    Raises:
        STEnhanceError: there is none; the message lists what there is.
    """
    try:
        return all_methods()[key]
    except KeyError:
        raise STEnhanceError(f"There is no method {key!r}; there are: {', '.join(all_methods())}.") from None
