"""What methods that reconstruct from k-space share: does the measurement belong to the images?"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import ImageSequence

CLOSE_MM = 1e-3


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
