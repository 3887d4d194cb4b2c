"""What a comparison adds to the browser of the result: copies of sequences from elsewhere, and signed differences."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import slicer

from STEnhanceLib.beside import seen_from, take_out, volume_of
from STEnhanceLib.comparison import LIMIT_PERCENTILE, open_difference, show_signed
from STEnhanceLib.evaluation.alignment import frames_at, held_frames, interpolated
from STEnhanceLib.publication import PARTIAL, Publication
from STEnhanceLib.scene import describe_sequence, find_sequence, frame_origins
from STEnhanceLib.sequence import Grid, ImageSequence

COMPANION = "STEnhance.OnlyWhileCompared"  # attribute of the sequence node


class Companions:
    """Sequences that live beside the result as long as it is compared.

    Their making is a generator that works frame by frame, so that nothing blocks.
    """

    def __init__(self):
        self._publications: dict[tuple, Publication] = {}

    def remove(self) -> None:
        """Take all of them out of the scene; the browser is as it was before."""
        for key in reversed(list(self._publications)):  # the last one swapped the master last
            self._forget(key)

    def remove_leftovers(self) -> None:
        """Take out what came with a scene that was saved while it was compared: copies are hidden from the user.

        They are saved, since a browser that names nodes which are not would take in whichever get their IDs. A clone
        that the user made of a difference is in no browser, and stays.
        """
        own = [publication.sequence for publication in self._publications.values()]
        for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
            _, browser = find_sequence(sequence)
            if sequence.GetAttribute(COMPANION) and browser is not None and sequence not in own:
                take_out(sequence, browser)

    def remove_difference(self) -> None:
        """Take the differences out of the scene."""
        for key in [key for key in self._publications if key[0] == "difference"]:
            self._forget(key)

    def beside(self, sequence_node, result_node):
        """The volume that shows a sequence in the browser of the result; None where none does yet."""
        browser = find_sequence(result_node)[1]
        if browser is not None and browser.IsSynchronizedSequenceNode(sequence_node, True):
            return browser.GetProxyNode(sequence_node)
        return self._volume(("copy", sequence_node.GetID(), result_node.GetID()))

    def difference(self, result_node, base_node):
        """The volume that shows result minus base; None where there is none yet."""
        return self._volume(("difference", result_node.GetID(), base_node.GetID()))

    def bring_beside(self, sequence_node, result_node) -> Generator[None, None, None]:
        """Copy a sequence into the browser of the result, at the same moments, with the same window and level.

        Sequences of two browsers are played apart, and their indices may have other units.

        Raises:
            STEnhanceError: as `seen_from`.
        """
        if self.beside(sequence_node, result_node) is not None:
            return
        grid = _grid_beside(result_node, sequence_node)
        name, origins = f"{sequence_node.GetName()} (compared)", frame_origins(sequence_node)
        publication = Publication(result_node, grid, name, origins=origins, hidden=True)
        key = ("copy", sequence_node.GetID(), result_node.GetID())
        yield from self._publish(key, publication, (_frame(sequence_node, n) for n in range(len(grid))))

    def make_difference(self, result_node, base_node, same_moments: bool) -> Generator[None, None, None]:
        """Publish result minus base, on the grid of the result; base is interpolated linearly where its grid differs.

        Args:
            same_moments: True takes differences only where both have a frame, as against a reference; False
                interpolates base in time too, which shows what a method did beyond a blend of its input.

        Raises:
            STEnhanceError: no moment in common, or as `seen_from`.
        """
        if self.difference(result_node, base_node) is not None:
            return
        self.remove_difference()
        (result, _notes), base = describe_sequence(result_node), _grid_beside(result_node, base_node)
        names = result_node.GetName(), base_node.GetName()
        indices = np.arange(len(result))
        if same_moments:
            indices = np.flatnonzero(frames_at(base, result.times_ms) >= 0)
        publication = open_difference(result_node, result, result.times_ms[indices], names)
        limit = 0.0

        def differences() -> Iterator[np.ndarray]:
            for n in indices:
                yield _frame(result_node, n) - _at(base_node, base, result.at_times(result.times_ms[n : n + 1]))

        def colour(frame: np.ndarray) -> None:
            nonlocal limit
            limit = max(limit, float(np.percentile(np.abs(frame), LIMIT_PERCENTILE)))
            show_signed(publication.proxy, limit)

        key = ("difference", result_node.GetID(), base_node.GetID())
        yield from self._publish(key, publication, differences(), colour)

    def _publish(self, key, publication: Publication, frames, on_frame=None) -> Generator[None, None, None]:
        try:
            for frame in frames:
                yield  # computing it was a piece of work of its own
                publication.add_frame(frame)
                publication.sequence.SetAttribute(COMPANION, "yes")
                if on_frame is not None:
                    on_frame(frame)
                yield
            # Not finished, as the browser goes on stepping through what it stepped through before; but complete.
            publication.sequence.RemoveAttribute(PARTIAL)
        except BaseException:  # also when the generator is closed
            publication.cancel()
            raise
        self._publications[key] = publication

    def _forget(self, key) -> None:
        publication = self._publications.pop(key)
        if publication.proxy is not None:
            publication.cancel()

    def _volume(self, key):
        publication = self._publications.get(key)
        if publication is None or publication.proxy is None or publication.proxy.GetScene() is None:
            return None
        return publication.proxy


def _grid_beside(result_node, sequence_node) -> Grid:
    """Where and when a sequence lies for the result, under whatever transforms the two are."""
    grid, _notes = describe_sequence(sequence_node)
    return seen_from(volume_of(result_node), volume_of(sequence_node), grid)


def _frame(sequence_node, n: int) -> np.ndarray:
    return slicer.util.arrayFromVolume(sequence_node.GetNthDataNode(int(n))).astype(np.float32)


def _at(sequence_node, grid: Grid, moment: Grid) -> np.ndarray:
    """A sequence at the voxels and the one time of `moment`, interpolated linearly from the two frames around it."""
    n = int(held_frames(grid, moment.times_ms)[0])
    following, times = [n], [grid.times_ms[n]]
    if n + 1 < len(grid):
        following, times = [n, n + 1], grid.times_ms[n : n + 2]
    elif grid.periodic and len(grid) > 1:
        following, times = [n, 0], [grid.times_ms[n], grid.times_ms[0] + grid.period_ms]
    around = Grid(grid.shape, grid.ijk_to_ras, times)
    return interpolated(ImageSequence.from_frames([_frame(sequence_node, m) for m in following], around), moment)[0]
