"""Planted defects and clean subjects: models whose fault, or faultlessness, is known exactly."""

from __future__ import annotations

from medgan_qa.controls.cycles import cheating_pair, collapsed_translator, honest_pair, planted_where
from medgan_qa.controls.geometry import Displace, Distort, Flip, SquareLesions, Warp, Wrap
from medgan_qa.controls.intensity import EnlargeFluid, Gamma, Mild, Recalibrate, TissueOffset
from medgan_qa.controls.planted_lesions import MoveLesions
from medgan_qa.controls.responses import (
    BatchNormalized,
    Blurred,
    Fragile,
    Hallucinating,
    Noisy,
    Power,
    Refusing,
    Sharpened,
    Strided,
    computing_translator,
)
from medgan_qa.controls.translators import (
    Attenuate,
    Both,
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
    "BatchNormalized",
    "Blurred",
    "Both",
    "Constant",
    "Defect",
    "Displace",
    "Distort",
    "EnlargeFluid",
    "Erase",
    "Faithful",
    "Flip",
    "Fragile",
    "Gamma",
    "Hallucinating",
    "Insert",
    "Invert",
    "Mild",
    "MoveLesions",
    "Noisy",
    "NotANumber",
    "Power",
    "Recalibrate",
    "Refusing",
    "Sharpened",
    "SquareLesions",
    "Strided",
    "ThresholdDetector",
    "TissueOffset",
    "Warp",
    "Wrap",
    "cheating_pair",
    "collapsed_translator",
    "computing_translator",
    "honest_pair",
    "planted_translator",
    "planted_where",
]
