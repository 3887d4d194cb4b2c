"""What methods that reconstruct from k-space share: does it belong to the images, and do its spokes lie in place?"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.acquisition import delays
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.sequence import ImageSequence

CLOSE_MM = 1e-3


def delays_parameter():
    """The parameter `delays` of methods that reconstruct from k-space."""
    return parameter(
        True,
        "Find out from the spokes how late the gradients of the scanner were, and put the spokes where they were "
        "measured; also undoes a phase that wanders from spoke to spoke. Lines are left alone.",
        label="Correct gradient delays",
    )


def spokes_in_place(kspace: KSpace, wanted: bool, notes: list[str]) -> KSpace:
    """The measurement as methods shall see it; `notes` get what was found, or that nothing was sought."""
    if kspace.trajectory is None:
        return kspace
    if not wanted:
        notes.append(delays.SWITCHED_OFF)
        return kspace
    corrected = delays.in_place(kspace)
    notes.extend(corrected.notes[len(kspace.notes) :])
    return corrected


def check_that_they_belong_together(sequence: ImageSequence, kspace: KSpace) -> None:
    """Compare matrix, number of frames and geometry.

    Raises:
        STEnhanceError: the k-space is of another scan.
    """
    ours, theirs = sequence.grid, kspace.grid
    if ours.shape != theirs.shape or len(ours) != len(theirs):
        raise STEnhanceError(
            f"The k-space belongs to {len(theirs)} frames of (K, J, I) = {theirs.shape}, the images are {len(ours)} "
            f"frames of {ours.shape}; expected the same. Pick the measurement of these images."
        )
    if not np.allclose(ours.ijk_to_ras, theirs.ijk_to_ras, atol=CLOSE_MM):
        raise STEnhanceError(
            "The k-space belongs to images in another place or of another spacing; expected the IJK→RAS matrix of the "
            "sequence. Pick the measurement of these images."
        )
