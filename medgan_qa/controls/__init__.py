"""Planted defects and clean subjects: models whose fault, or faultlessness, is known exactly."""

from __future__ import annotations

from medgan_qa.controls.translators import (
    Attenuate,
    Constant,
    Defect,
    Erase,
    Faithful,
    Insert,
    Invert,
    NotANumber,
    ThresholdDetector,
    planted_translator,
)

__all__ = [
    "Attenuate",
    "Constant",
    "Defect",
    "Erase",
    "Faithful",
    "Insert",
    "Invert",
    "NotANumber",
    "ThresholdDetector",
    "planted_translator",
]
