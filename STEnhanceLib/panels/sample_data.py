"""Stub until the sample data are written."""


def register():
    """Nothing yet."""
