"""The optimizer of all recipes: Muon for large matrices and the kernels of convolutions, AdamW for the other weights.

Muon orthogonalizes the step of every weight matrix, so that no direction is left behind: here it reached in a quarter
of the steps what AdamW had. Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/); a kernel counts as the
matrix of its outputs × everything that goes in. One-cycle schedule: Smith and Topin, 2018 (arXiv 1708.07120).
"""

from __future__ import annotations

from typing import Any

import torch

WARM_UP = 0.1  # share of the steps until the learning rate peaks
WEIGHT_DECAY = 0.01
LARGE = 64  # rows and columns at least of a matrix that is no kernel, as transformers have them


class OneCycle:
    """The optimizers of a network, and their schedules.

    Args:
        network: its parameters are updated in place.
        learning_rate: at the peak.
        steps: of the whole cycle.
    """

    def __init__(self, network: torch.nn.Module, learning_rate: float, steps: int):
        self._kernels = [values for values in network.parameters() if _is_matrix(values)]
        others = [values for values in network.parameters() if not _is_matrix(values)]
        # Copies, since kernels that lie in memory with their channels last have no matrix as a view.
        self._matrices = [torch.nn.Parameter(values.detach().flatten(1).clone()) for values in self._kernels]
        self._optimizers = [
            torch.optim.Muon(self._matrices, learning_rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, learning_rate, weight_decay=0.0),
        ]
        self._schedules = [
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer, learning_rate, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False
            )
            for optimizer in self._optimizers
        ]

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return self._schedules[0].get_last_lr()[0]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients of the network, and forget them."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            kernel.copy_(matrix.view_as(kernel))
            kernel.grad = None

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on."""
        return {
            "matrices": [matrix.detach() for matrix in self._matrices],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in self._schedules],
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for matrix, saved in zip(self._matrices, state["matrices"], strict=True):
            matrix.copy_(saved)
        for part, saved in zip(self._optimizers, state["optimizers"], strict=True):
            part.load_state_dict(saved)
        for part, saved in zip(self._schedules, state["schedules"], strict=True):
            part.load_state_dict(saved)


def _is_matrix(values: torch.Tensor) -> bool:
    return values.ndim >= 4 or (values.ndim == 2 and min(values.shape) >= LARGE)
