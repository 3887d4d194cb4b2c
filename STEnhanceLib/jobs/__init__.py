"""Runs a method outside the caller's process, so that Slicer never freezes: one warm worker, any number of jobs.

worker = Worker()
job = worker.submit("linear", {"factor": 2}, sequence)
for event in job.poll():    # from a timer; never blocks
    ...

The images of a measurement come from a process of their own, too: `gridding_in_background`.
"""

from STEnhanceLib.jobs.client import Job, Worker
from STEnhanceLib.jobs.events import Cancelled, Event, Failed, Finished, FrameReady, Planned, Working

__all__ = ["Cancelled", "Event", "Failed", "Finished", "FrameReady", "Job", "Planned", "Worker", "Working"]
