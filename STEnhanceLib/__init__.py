"""STEnhance: space–time enhancement of 4D MR image sequences.

Everything a user does is one line, left to right::

    scene / files ──> ImageSequence ──> Method ──> Enhancement ──> scene / files / report

Importing this package imports nothing heavy; torch and slicer are imported where they are used.
"""

__version__ = "0.1.0"
