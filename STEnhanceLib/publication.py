"""Publishes a result beside its input while it is being computed: same browser, same window and level, same place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from STEnhanceLib.beside import leave_browser, place_beside, remove, sequences_of, shown_frame, with_helpers
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import SideMap
from STEnhanceLib.node_events import silent
from STEnhanceLib.node_times import FRAME_TIME_MS, frame_times, index_values
from STEnhanceLib.origin import GENERATED_FRAMES, SAME_MOMENT_MS, Lineage, Origin, generated_text
from STEnhanceLib.scene import add_browser, describe, find_sequence, frame_origins, free_name, insert_frame
from STEnhanceLib.sequence import Grid
from STEnhanceLib.side_maps import PublishedMap

PARTIAL = "STEnhance.Partial"
_SAVES_CHANGES = "stenhanceSavesChanges"  # node references of a browser: see Publication.finish


class Publication:
    """A result that appears frame by frame in the browser of its input.

    Nothing is added to the scene before the first frame. The browser's selected moment, its playback and the
    input's frames are never changed. Frames are shown as they come; `finish` then lets the browser step through all
    of them where the result is denser in time than what it stepped through before.

    Attributes:
        sequence: the `vtkMRMLSequenceNode` of the result; None before the first frame and after `cancel`.
        browser: the `vtkMRMLSequenceBrowserNode` that shows input and result.
        made_browser: none showed the input, so this one was made for the two.
        proxy: the volume in which the browser shows the result.
    """

    def __init__(
        self,
        input_node,
        grid: Grid,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        input_times_ms: np.ndarray | None = None,
        origins: Sequence[Origin] | None = None,
        share_display: bool = True,
        hidden: bool = False,
        maps: Sequence[SideMap] = (),
    ):
        """Prepare to publish; the scene is not touched yet.

        Args:
            input_node: the input's `vtkMRMLSequenceNode`, or the volume in which a browser shows it.
            grid: where and when the result lies.
            name: what the result is called in the scene.
            attributes: provenance, see `methods.run.provenance`.
            input_times_ms: (T,) times with which the input was read, where they are not those of the node.
            origins: where the frames come from, of a sequence for which that is known already; found out by
                `origin.Lineage` where not given.
            share_display: one window and level for input and result.
            hidden: no list of nodes offers the result, and the module Data does not show it.
            maps: what every frame brings beside its voxels; each becomes a sequence of its own, see `side_maps`.

        Raises:
            STEnhanceError: the node is no sequence, or its index cannot hold the times of the result.
        """
        self.sequence = self.browser = self.proxy = None
        self._input, _ = find_sequence(input_node)
        self._grid, self._name, self._attributes = grid, name, dict(attributes or {})
        self._share_display, self._hidden = share_display, hidden
        self._maps = {side_map.key: PublishedMap(side_map, self._attributes) for side_map in maps}
        times = frame_times(self._input)[0] if input_times_ms is None else np.asarray(input_times_ms)
        self._index_values = _index_values(self._input, times, grid.times_ms)
        self._origins = origins
        method_key = self._attributes.get("STEnhance.Method", "")
        self._lineage = Lineage(frame_origins(self._input), times, grid, method_key)
        self._generated: list[bool] = []
        self.made_browser = False
        self._old_master = None

    def __len__(self) -> int:
        """How many frames have been published."""
        return 0 if self.sequence is None else self.sequence.GetNumberOfDataNodes()

    @property
    def maps(self) -> list:
        """The `vtkMRMLSequenceNode` of every map that is in the scene with the result; empty before the first frame."""
        nodes = (published.sequence for published in self._maps.values())
        return [node for node in nodes if node is not None and node.GetScene() is not None]

    def add_frame(
        self,
        voxels: np.ndarray,
        unsupported: np.ndarray | float = math.nan,
        maps: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Show the next frame, in the order of `grid.times_ms`.

        Args:
            voxels: (K, J, I), copied once; the caller may reuse the array.
            unsupported: see `methods.EnhancedFrame`; its mean is kept with the frame.
            maps: all that were announced, by `SideMap.key`; copied, too.

        Raises:
            STEnhanceError: the frame does not fit the grid, or the user removed input or result from the scene.
        """
        index = len(self)
        if index == len(self._grid) or voxels.shape != self._grid.shape:
            raise STEnhanceError(
                f"A frame {index + 1} of shape {voxels.shape} was published; "
                f"expected {len(self._grid)} frames of {self._grid.shape}."
            )
        self._check_scene()
        origin = self._origins[index] if self._origins is not None else self._lineage.origin(index, unsupported)
        attributes = {FRAME_TIME_MS: repr(float(self._grid.times_ms[index])), **origin.attributes()}
        if self.sequence is None:
            self._open(voxels, attributes)
        else:
            insert_frame(self.sequence, self._index_values[index], voxels, self._grid.ijk_to_ras, attributes)
        self._generated.append(origin.generated)
        for key, published in self._maps.items():
            published.add_frame(self._index_values[index], maps[key], self._grid.ijk_to_ras, attributes)
        if index == 0 or shown_frame(self.sequence, self.browser) == index:
            self._tell()

    def finish(self, attributes: Mapping[str, str] | None = None) -> None:
        """All frames are there: the browser steps through the result where that is denser than its master.

        Args:
            attributes: provenance that came up while the frames were computed.

        Raises:
            STEnhanceError: frames are missing, or input or result are gone.
        """
        if len(self) < len(self._grid):
            raise STEnhanceError(
                f"{len(self)} of {len(self._grid)} frames were published; expected all of them. Run the method again."
            )
        self._check_scene()
        attributes = dict(attributes or {})
        if GENERATED_FRAMES in self._attributes:
            attributes[GENERATED_FRAMES] = generated_text(self._generated)
        for node in (self.sequence, *self.maps):
            with silent(node):
                node.RemoveAttribute(PARTIAL)
                describe(node, attributes, self._grid.periodic)
        self._tell()
        master = self.browser.GetMasterSequenceNode()
        if not _steps_through(self.sequence, master):
            return
        # A browser that saves changes would insert copies of frames into every sequence that lacks one of the
        # master's moments, the user's input among them. It remembers which they were for when the result goes.
        for sequence in sequences_of(self.browser):
            if self.browser.GetSaveChanges(sequence):
                self.browser.AddNodeReferenceID(_SAVES_CHANGES, sequence.GetID())
                self.browser.SetSaveChanges(sequence, False)
        self._old_master = master
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())

    def cancel(self, keep_partial: bool = False) -> None:
        """Take everything back, also after `finish`, so that the scene is as it was; or keep the finished frames."""
        if self.sequence is None:
            return
        if keep_partial and len(self) and self.sequence.GetScene() is not None:
            some = len(self) < len(self._grid)
            for node in (self.sequence, *self.maps):
                node.SetAttribute(PARTIAL, f"{len(self)} of {len(self._grid)} frames" if some else None)
                if GENERATED_FRAMES in self._attributes:
                    node.SetAttribute(GENERATED_FRAMES, generated_text(self._generated))
            self._tell()
            return
        scene, browser = self.sequence.GetScene(), self.browser
        for published in self._maps.values():
            published.remove()
        leftovers = with_helpers(self.proxy)
        if browser.GetScene() is not None:
            leftovers += with_helpers(browser.GetProxyNode(self.sequence))  # a new one, where the user removed ours
            self._leave_browser()
            if self.made_browser and sequences_of(browser) == [self._input]:
                leftovers = [browser, *leftovers, *with_helpers(browser.GetProxyNode(self._input))]
        if scene is not None:
            leftovers += [self.sequence.GetStorageNode(), self.sequence]
        remove(leftovers)
        self.sequence = self.browser = self.proxy = None

    def _tell(self) -> None:
        """Let the browser know of all frames that came while they were not on screen."""
        for node in (*self.maps, self.sequence):
            node.InvokePendingModifiedEvent()

    def _check_scene(self) -> None:
        for node, what in ((self._input, "input"), (self.sequence, "result"), (self.browser, "browser of the result")):
            if node is not None and node.GetScene() is None:
                raise STEnhanceError(
                    f"The {what} was removed from the scene while the result was computed; load the input, run again."
                )

    def _open(self, voxels: np.ndarray, attributes: Mapping[str, str]) -> None:
        import slicer

        scene = self._input.GetScene()
        _, self.browser = find_sequence(self._input)
        self.made_browser = self.browser is None
        if self.made_browser:
            self.browser = add_browser(self._input)
        self.sequence = self._added(slicer.vtkMRMLSequenceNode(), free_name(scene, self._name))
        self.sequence.SetIndexName(self._input.GetIndexName())
        self.sequence.SetIndexUnit(self._input.GetIndexUnit())
        self.sequence.SetIndexType(self._input.GetIndexType())
        self.sequence.SetNumericIndexValueTolerance(_tolerance(self._input, self._index_values))
        describe(self.sequence, self._attributes, self._grid.periodic)
        insert_frame(self.sequence, self._index_values[0], voxels, self._grid.ijk_to_ras, attributes)
        with slicer.util.NodeModify(self.browser):
            # With its proxy there before the browser acts, no display node is made only to be replaced. The proxy's
            # name stays: renaming it with every frame makes linked slice views all show the result.
            self.browser.AddSynchronizedSequenceNode(self.sequence)
            self.proxy = self._added(slicer.vtkMRMLScalarVolumeNode(), self.sequence.GetName())
            self.browser.AddProxyNode(self.proxy, self.sequence, False)
            self._show_like(self.browser.GetProxyNode(self._input))
        for published in self._maps.values():
            published.open(self.sequence, self.browser, self.proxy, self._grid.periodic)
        for node in (self.sequence, *self.maps):  # until `finish`
            node.SetAttribute(PARTIAL, f"saved before all {len(self._grid)} frames were computed")

    def _added(self, node, name: str):
        node.SetName(name)
        node.SetHideFromEditors(self._hidden)  # before it is added: lists of nodes do not look again
        return self._input.GetScene().AddNode(node)

    def _show_like(self, input_proxy) -> None:
        if self._share_display and input_proxy is not None and input_proxy.GetDisplayNode() is not None:
            self.proxy.SetAndObserveDisplayNodeID(input_proxy.GetDisplayNodeID())
        else:
            self.proxy.CreateDefaultDisplayNodes()
        self.proxy.AddDefaultStorageNode()
        place_beside(self.proxy, input_proxy)

    def _leave_browser(self) -> None:
        browser = self.browser
        others = [sequence for sequence in sequences_of(browser) if sequence is not self.sequence]
        if browser.GetMasterSequenceNode() is self.sequence and others:
            master = self._old_master if self._old_master in others else others[0]
            browser.SetAndObserveMasterSequenceNodeID(master.GetID())
        leave_browser(self.sequence, browser)
        # `finish` kept the browser from saving changes while a denser result was its master: it may again, except for
        # sequences that another denser result still shields.
        master = browser.GetMasterSequenceNode()
        for index in reversed(range(browser.GetNumberOfNodeReferences(_SAVES_CHANGES))):
            sequence = browser.GetNthNodeReference(_SAVES_CHANGES, index)
            if sequence in others and not _steps_through(master, sequence):
                browser.SetSaveChanges(sequence, True)
                browser.RemoveNthNodeReferenceID(_SAVES_CHANGES, index)
        # The shared display node still holds the result's last image: let the input's proxy take it back.
        browser.Modified()


def _index_values(input_node, input_times_ms, times_ms) -> list[str]:
    """The times of the result on the index axis of the input."""
    texts = index_values(input_node)
    if not texts:
        raise STEnhanceError(f"The sequence {input_node.GetName()!r} has no frames; expected at least one.")
    nearest = np.abs(times_ms[:, None] - input_times_ms[None]).argmin(axis=1)
    acquired = np.abs(times_ms - input_times_ms[nearest]) <= SAME_MOMENT_MS
    if input_node.GetIndexType() == input_node.NumericIndex:
        between = _interpolated(input_times_ms, [float(text) for text in texts], times_ms)
    elif acquired.all():
        between = times_ms
    else:
        raise STEnhanceError(
            f"The frames of {input_node.GetName()!r} are indexed by text ({texts[0]!r}, …), which cannot hold new "
            "moments between them; expected numbers. Change the index type to numeric in the Sequences module."
        )
    # The input's own texts where both have a frame, so that the browser finds the same moment in both.
    values = [texts[n] if own else f"{value:.9g}" for n, own, value in zip(nearest, acquired, between, strict=True)]
    if len(set(values)) < len(values):
        raise STEnhanceError(
            f"Two moments of the result fall on one index value of {input_node.GetName()!r}; expected distinct ones. "
            "Ask for fewer frames."
        )
    return values


def _interpolated(x: np.ndarray, y, at: np.ndarray) -> np.ndarray:
    """Linear between the points and beyond them."""
    y = np.asarray(y)
    slope = (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 else 1.0
    inside = np.clip(at, x[0], x[-1])
    return np.interp(inside, x, y) + slope * (at - inside)


def _tolerance(input_node, values: list[str]) -> float:
    """Slicer takes index values within 0.001 as one, which merges frames 0.5 ms apart on an axis in seconds."""
    tolerance = input_node.GetNumericIndexValueTolerance()
    if len(values) < 2 or input_node.GetIndexType() != input_node.NumericIndex:
        return tolerance
    return min(tolerance, float(np.diff([float(value) for value in values]).min()) / 10)


def _steps_through(result, master) -> bool:
    """The result has more frames than the master and leaves none of its moments out of reach."""
    if result.GetNumberOfDataNodes() <= master.GetNumberOfDataNodes() or result.GetIndexType() != result.NumericIndex:
        return False
    ours, theirs = ([float(value) for value in index_values(node)] for node in (result, master))
    slack = result.GetNumericIndexValueTolerance()
    return ours[0] <= theirs[0] + slack and ours[-1] >= theirs[-1] - slack
