"""Estimators: arrays in, numbers out. No files, no models, no plots."""

from __future__ import annotations

from medgan_qa.metrics.body import body_mask
from medgan_qa.metrics.fidelity import mean_absolute_error, psnr, ssim, ssim_map
from medgan_qa.metrics.lesions import (
    MatchingRule,
    components,
    contrast,
    contrast_noise,
    equivalent_diameter,
    found,
    surround,
    unmatched,
)

__all__ = [
    "MatchingRule",
    "body_mask",
    "components",
    "contrast",
    "contrast_noise",
    "equivalent_diameter",
    "found",
    "mean_absolute_error",
    "psnr",
    "ssim",
    "ssim_map",
    "surround",
    "unmatched",
]
