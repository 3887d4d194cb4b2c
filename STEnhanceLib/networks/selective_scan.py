"""The recurrence of Mamba, without compiled code: exact, in blocks, and with a gradient that stores little.

Gu and Dao: Mamba: linear-time sequence modeling with selective state spaces. COLM 2024 (arXiv 2312.00752).
"""

from __future__ import annotations

import torch

BLOCK = 128  # steps that are taken one by one, in all blocks at once


def selective_scan(
    x: torch.Tensor, pace: torch.Tensor, rates: torch.Tensor, into: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    """What a linear system says whose time runs faster or slower with what it reads.

    Args:
        x: (B, L, D) float32, what is read.
        pace: (B, L, D) positive, how much time passes with each element.
        rates: (D, N) negative, of the states.
        into: (B, L, N) how the input enters the states.
        out: (B, L, N) how the states are read.

    Returns:
        (B, L, D)
    """
    decay = (pace[..., None] * rates).exp()
    return torch.einsum("bldn,bln->bld", recurrence(decay, (pace * x)[..., None] * into[:, :, None]), out)


def recurrence(decay: torch.Tensor, entering: torch.Tensor) -> torch.Tensor:
    """h[t] = decay[t] · h[t - 1] + entering[t] along axis 1, from h = 0; all (B, L, ...)."""
    return _Recurrence.apply(decay, entering)


class _Recurrence(torch.autograd.Function):
    """The gradient of a recurrence is the same recurrence backwards, so that only its states need to be kept."""

    @staticmethod
    def forward(ctx, decay, entering):
        states = _in_blocks(decay, entering)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx, gradient):
        decay, states = ctx.saved_tensors
        after = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], dim=1)
        of_entering = _in_blocks(after.flip(1), gradient.flip(1)).flip(1)
        of_decay = torch.cat([torch.zeros_like(states[:, :1]), of_entering[:, 1:] * states[:, :-1]], dim=1)
        return of_decay, of_entering


def _in_blocks(decay: torch.Tensor, entering: torch.Tensor) -> torch.Tensor:
    """Every block as if it were the first, then what each hands on to the next: L / 128 + 128 steps instead of L."""
    length = entering.shape[1]
    if missing := -length % BLOCK:
        shape = (len(entering), missing, *entering.shape[2:])
        decay, entering = (torch.cat([x, x.new_zeros(shape)], dim=1) for x in (decay, entering))
    decay, states = decay.unflatten(1, (-1, BLOCK)).clone(), entering.unflatten(1, (-1, BLOCK)).clone()
    for step in range(1, BLOCK):
        states[:, :, step].addcmul_(decay[:, :, step], states[:, :, step - 1])
        decay[:, :, step] *= decay[:, :, step - 1]  # from here on: since the start of the block
    for block in range(1, states.shape[1]):
        states[:, block].addcmul_(decay[:, block], states[:, block - 1, -1:])
    return states.flatten(1, 2)[:, :length]
