"""Painted bodies in large motion to practise on: knees that bend, which is no cycle, and deep breaths."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from STEnhanceLib.phantoms.breathing import Breathing
from STEnhanceLib.phantoms.knee import Knee
from STEnhanceLib.training.stock import Stock

logger = logging.getLogger(__name__)

SEEDS = range(100)  # the benchmark paints others
FLEXIONS_DEG, DEPTHS_MM = (60.0, 110.0), (15.0, 45.0)
KNEE_FRAMES, BREATH_FRAMES = 12, 20


def added(stock: Stock, *, knees: int = 48, breaths: int = 8, slices: int = 4, matrix: int = 192) -> Stock:
    """The stock, knees among its movements and breaths among its phantoms; some minutes for as many as that."""
    bending, breathing = [], []
    for seed in SEEDS[:knees]:
        flexion = float(np.random.default_rng(seed).uniform(*FLEXIONS_DEG))
        bending.append(_scaled(Knee(seed, flexion).cine(KNEE_FRAMES, matrix, slices).frames))
    for seed in SEEDS[:breaths]:
        depth = float(np.random.default_rng(seed).uniform(*DEPTHS_MM))
        breathing.append(_scaled(Breathing(seed, depth).cine(BREATH_FRAMES, matrix, slices).frames))
    logger.info("%d knees and %d breaths were painted", knees, breaths)
    return dataclasses.replace(stock, movements=[*stock.movements, *bending], phantoms=[*stock.phantoms, *breathing])


def _scaled(frames: np.ndarray) -> np.ndarray:
    return frames / np.quantile(frames, 0.999).astype(np.float32)
