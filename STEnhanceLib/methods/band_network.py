"""The learned denoiser of the high band, see `networks.band_denoiser`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import in_tiles


def noise_finder(
    model: str, scale: float, placement: Placement
) -> Callable[[Sequence[np.ndarray], int, float], np.ndarray]:
    """A function like `band_thresholds.noise_of` that computes with a network, of noise that is white.

    Args:
        model: name of the bundle.
        scale: what the network sees as 1.
        placement: where to compute.
    """
    import torch

    from STEnhanceLib.networks.band_denoiser import FOLD, FRAMES

    def noise_of(bands: Sequence[np.ndarray], centre: int, level: float) -> np.ndarray:
        def found(network, device, largest) -> np.ndarray:
            seen = np.stack(_around(bands, centre, FRAMES // 2), axis=1) / np.float32(scale)
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
                for of_slice in seen
            ]
            return torch.cat(noise)[:, 0].cpu().numpy()

        return placement.run(model, found) * np.float32(scale)

    return noise_of


def _around(bands: Sequence[np.ndarray], centre: int, reach: int) -> list[np.ndarray]:
    """t, t-1, t+1, t-2, …; where there is none, a nearer one or the frame itself."""
    sides = bands[centre::-1], bands[centre:]
    near = [side[min(steps, len(side) - 1)] for steps in range(1, reach + 1) for side in sides]
    return [bands[centre], *near]
