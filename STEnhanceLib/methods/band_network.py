"""The learned denoiser of the high band, see `networks.band_denoiser`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import in_tiles


def noise_finder(
    model: str, scale: float, placement: Placement
) -> Callable[[np.ndarray, np.ndarray | None, np.ndarray | None, float], np.ndarray]:
    """A function like `band_thresholds.noise_of` that computes with a network.

    Args:
        model: name of the bundle.
        scale: what the network sees as 1.
        placement: where to compute.
    """
    import torch

    from STEnhanceLib.networks.band_denoiser import FOLD

    def noise_of(now: np.ndarray, before: np.ndarray | None, after: np.ndarray | None, level: float) -> np.ndarray:
        around = (now, now if before is None else before, now if after is None else after)
        bands = np.stack(around, axis=1) / np.float32(scale)  # (K, 3, J, I)

        def found(network, device, largest) -> np.ndarray:
            told = torch.full((1, 1), level / scale, device=device)
            # Slice by slice, as one fits the cache of a CPU: all at once take twice as long.
            noise = [
                in_tiles(
                    lambda tile: network(tile, told),
                    torch.from_numpy(of_slice[None]).to(device),
                    network.radius,
                    multiple=FOLD,
                    largest=largest,
                )
                for of_slice in bands
            ]
            return torch.cat(noise)[:, 0].cpu().numpy()

        return placement.run(model, found) * np.float32(scale)

    return noise_of
