"""What each tissue looks like in each contrast: the tables that the phantom is rendered from.

Intensities are in unit range. T1, T2 and FLAIR are relative signal of a spin-echo head protocol (cerebrospinal fluid
dark in T1 and FLAIR, bright in T2; grey brighter than white in T2 and FLAIR). CT is the brain window from -50 to 150
HU, in which fat is black and bone saturates. Oedema and tumour core are bright in T2 and FLAIR, dark in T1 and CT.
"""

from __future__ import annotations

from typing import NamedTuple


class Contrast(NamedTuple):
    """Mean intensity of every tissue, and how much the receive field and noise disturb it."""

    white: float
    grey: float
    csf: float
    skull: float
    scalp: float
    oedema: float
    core: float
    bias: float
    """Relative amplitude of the smooth receive field."""
    noise: float
    """Standard deviation of each quadrature channel (Rician), before the site's factor."""


CONTRASTS: dict[str, Contrast] = {
    "T1": Contrast(0.74, 0.54, 0.16, 0.10, 0.88, oedema=0.45, core=0.32, bias=0.10, noise=0.020),
    "T2": Contrast(0.34, 0.46, 0.96, 0.07, 0.55, oedema=0.76, core=0.86, bias=0.10, noise=0.020),
    "FLAIR": Contrast(0.36, 0.46, 0.08, 0.07, 0.52, oedema=0.76, core=0.86, bias=0.10, noise=0.020),
    "CT": Contrast(0.40, 0.44, 0.29, 1.00, 0.06, oedema=0.33, core=0.30, bias=0.00, noise=0.012),
}
