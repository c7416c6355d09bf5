"""Inputs of a super-resolution that are made from the truth, as a model's card declares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.metrics.degradation import Degradation

NOISE_SEED = 20183
"""Seed of the noise. An input is data: it is the same in every run, whatever the run's own seed."""


def model_input(operator: Degradation | None, images: CaseImages, case_id: str) -> NDArray[np.float32]:
    """What a super-resolver is given for a case: its image as it is, or the truth degraded.

    Args:
        operator: how inputs come from truths; needed where `images.degrade`.
        images: the case.
        case_id: names the noise, one draw a channel.

    Returns:
        (C, h, w) float32, unit range, not clipped.

    Raises:
        ValueError: there is no operator to degrade with, or the truth's size is no multiple of its scale.
    """
    if not images.degrade:
        return images.image
    if operator is None:
        raise ValueError("the case holds a truth, and no operator is declared to degrade it with")
    clean = operator.apply(images.image)
    draws = (rng.child(NOISE_SEED, "acquisition", case_id, channel) for channel in range(len(clean)))
    noise = np.stack([operator.noise(clean.shape[1:], g) for g in draws])
    return (clean + noise).astype(np.float32)
