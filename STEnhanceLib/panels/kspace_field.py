"""The field for the k-space file of the measurement."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _


class KSpaceField:
    """Tells of every path in the field, also of an empty one.

    Args:
        selector: a ctkPathLineEdit. By itself it tells only of paths that its name filters allow.
        on_path: called with the path after every edit.
    """

    def __init__(self, selector, on_path: Callable[[str], None]):
        self._selector = selector
        selector.nameFilters = [_("k-space") + " (*.npz *.h5 *.hdf5 *.mrd)"]
        selector.comboBox().connect("editTextChanged(QString)", on_path)

    def show(self, path: str) -> None:
        """Say that this is the file; what the user types is left as it is."""
        if self._selector.currentPath != path:
            self._selector.currentPath = path
