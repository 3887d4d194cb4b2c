"""Where a network computes: on the GPU as a whole, in tiles when memory is short, on the CPU in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from STEnhanceLib import device, models
from STEnhanceLib.methods.tiles import LARGEST

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "bad allocation")  # what torch calls it on the CPU
SMALLER, SMALLEST = 4, LARGEST // 4**2
IN_PARTS = "Memory was short, so the images were computed in smaller parts, which overlap without seams."
ON_THE_CPU = "The memory of the GPU was short even in small parts, so the CPU computed the rest, which takes longer."

Result = TypeVar("Result")


def is_short_of_memory(error: Exception) -> bool:
    """Whether that is why torch gave up; on the CPU it has no exception of its own for it."""
    import torch

    known = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return known or any(words in str(error) for words in OUT_OF_MEMORY)


class Placement:
    """Runs the steps of one enhancement, and gives way when memory is short; steps that follow profit from that.

    Args:
        notes: of the enhancement; grows when the placement gives way.
    """

    def __init__(self, notes: list[str]):
        self.device, self.largest = device.chosen(), LARGEST
        self._notes = notes

    def run(self, model: str, step: Callable[[torch.nn.Module, str, int], Result]) -> Result:
        """Compute `step(network, device, largest)`, again with less where the memory of the device does not suffice.

        Args:
            model: name of a bundle, see `models.load`.
            step: computes from the beginning whenever it is called; `largest` see `tiles.in_tiles`.

        Raises:
            MemoryError: not even the smallest parts on the CPU are small enough.
        """
        import torch

        while True:
            try:
                network = models.load(model, self.device)
                with torch.inference_mode():
                    return step(network, self.device, self.largest)
            except (RuntimeError, MemoryError) as error:
                if not is_short_of_memory(error):
                    raise
                logger.warning("%s", error)
                if not self._can_give_way():
                    raise MemoryError(str(error)) from error
            # Only here is the error gone, and with it the tensors that its traceback held.
            self._give_way()

    def _can_give_way(self) -> bool:
        return self.largest > SMALLEST or self.device != "cpu"

    def _give_way(self) -> None:
        import torch

        if self.largest > SMALLEST:
            self.largest //= SMALLER
            self._note(IN_PARTS)
        else:
            self.device, self.largest = "cpu", LARGEST
            self._note(ON_THE_CPU)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _note(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)
