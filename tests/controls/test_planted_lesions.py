"""Lesions that were moved stand where they were moved to."""

from __future__ import annotations

import numpy as np

from medgan_qa.controls.planted_lesions import MoveLesions
from medgan_qa.metrics.planting import disc, plant


def test_a_displaced_lesion_stands_elsewhere_at_its_contrast():
    tissue = np.zeros((64, 64), np.float32)
    tissue[8:56, 8:56] = 0.4
    cover = disc((64, 64), (32, 24), 8.0, (1.0, 1.0))
    moved = MoveLesions(rows=0, columns=14).apply(plant(tissue, cover, 0.3), cover >= 0.5, np.random.default_rng(0))
    assert np.allclose(moved, plant(tissue, disc((64, 64), (32, 38), 8.0, (1.0, 1.0)), 0.3), atol=1e-6)
