"""Practice on one batch over and over, to see that mistakes get fewer."""

from __future__ import annotations

import numpy as np
import torch


def mistakes_of_practice(exercise, network: torch.nn.Module, batch, learning_rate: float, steps: int) -> list[float]:
    """The mistake before each step; the gradients of the last one stay in the network."""
    optimizer, mistakes = torch.optim.Adam(network.parameters(), learning_rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        mistake = exercise.loss(network, batch, 0.0, np.random.default_rng(0))
        mistake.backward()
        optimizer.step()
        mistakes.append(mistake.item())
    return mistakes
