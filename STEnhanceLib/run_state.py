"""How far a run is, and what may happen to it then: the whole life of a `SceneRun` as one table."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Of a run; the last three are its ends."""

    READING = "its input is read from the scene"
    WAITING = "the worker has it, and has not planned it yet"
    COMPUTING = "frames are computed and published"
    PUBLISHING = "the worker has finished, and frames are still published"
    CANCELLING = "the user gave it up, and the worker is still at it"
    DONE = "its result is in the scene"
    CANCELLED = "it was given up"
    FAILED = "it could not go on"

    @property
    def ended(self) -> bool:
        """Nothing more happens."""
        return self in ENDS


class Step(Enum):
    """What happens to a run."""

    READ = "its input is read"
    PLANNED = "the method has accepted it"
    COMPUTED = "the worker has finished"
    PUBLISHED = "its last frame is in the scene"
    CANCEL = "the user gives it up"
    STOPPED = "nobody computes it any more, as somebody wanted"
    FAIL = "something went wrong"


ENDS = frozenset({State.DONE, State.CANCELLED, State.FAILED})
AFTER = {
    (State.READING, Step.READ): State.WAITING,
    (State.WAITING, Step.PLANNED): State.COMPUTING,
    (State.COMPUTING, Step.COMPUTED): State.PUBLISHING,
    (State.PUBLISHING, Step.PUBLISHED): State.DONE,
    **{(state, Step.CANCEL): State.CANCELLING for state in State if state not in ENDS},
    **{(state, Step.STOPPED): State.CANCELLED for state in State if state not in ENDS},
    **{(state, Step.FAIL): State.FAILED for state in State if state not in ENDS},
    # What the worker said before it heard of the cancel changes nothing.
    **{(State.CANCELLING, step): State.CANCELLING for step in (Step.READ, Step.PLANNED, Step.COMPUTED)},
    # An end is one: whatever comes after it is late.
    **{(state, step): state for state in ENDS for step in Step},
}


def after(state: State, step: Step) -> State:
    """The state that follows.

    Raises:
        RuntimeError: such a thing cannot happen then; a fault of ours.
    """
    if (state, step) not in AFTER:
        raise RuntimeError(f"A run of which {state.value} cannot go on with: {step.value}.")
    return AFTER[state, step]
