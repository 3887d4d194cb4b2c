"""A smoke host: just enough of Slicer's window for pytest to load a scripted module, click in it and take its picture.

The MRML nodes and logics are Slicer's own, from the package `slicer-core`; `slicer.util` is Slicer's own too. What
`slicer-core` lacks is stood in for, on PySide6: `qt`, `ctk`, the `qMRML*` widgets, `slicer.app`, `slicer.modules`,
`ScriptedLoadableModule`, `parameterNodeWrapper`, `i18n` and `SampleData`. The names, properties and signals were read
in the sources of Slicer 5.13 and CTK; only what our modules use is here, and what is not here raises.

It is never proof that a panel works in Slicer. It cannot show: what PythonQt refuses and PySide6 allows (it is made
stricter where we know of it), designer plugins and Slicer's style sheet, real slice and 3D views (a slice view here
paints the image of its slice logic, without markups), view controllers and their volume selectors, main-window
actions, DICOM, the extension manager, or another operating system.
"""
