"""The one exception a user may see."""


class STEnhanceError(Exception):
    """Something the user can mend.

    The message is one sentence or two that say what was found, what was expected and what to do. Every surface
    (command line, panel, worker) shows it as it stands, without a traceback.
    """
