"""The anatomy file: what it promises to whoever samples it, and that a damaged one is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa.cohorts import tissue
from medgan_qa.cohorts.tissue import TISSUES, brain_tissue, parenchyma_seats, prefiltered
from medgan_qa.errors import IntegrityError

LEVEL = 5 / 255
"""Step that the fractions are stored in."""


def test_fractions_are_shares_of_a_voxel() -> None:
    fractions = brain_tissue().fractions
    assert fractions.dtype == np.float32
    assert fractions.shape[3] == len(TISSUES)
    assert fractions.min() == 0
    assert fractions.max() <= 1
    # Each of five fractions was rounded by itself, so that a sum of one may be off by half a level each.
    assert fractions.sum(axis=-1).max() <= 1 + len(TISSUES) * LEVEL / 2


def test_every_tissue_is_in_every_slice_and_the_margin_is_air() -> None:
    fractions = brain_tissue().fractions
    assert (fractions.max(axis=(1, 2)) > 0.9).all()
    assert not fractions[:, [0, -1]].any()
    assert not fractions[:, :, [0, -1]].any()


def test_slices_are_where_the_map_says() -> None:
    tissue_map = brain_tissue()
    assert len(tissue_map.z_mm) == len(tissue_map.fractions)
    np.testing.assert_allclose(np.diff(tissue_map.z_mm), tissue_map.spacing_mm[0])


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: bytes([*b[:40], b[40] ^ 1, *b[41:]]), lambda b: b""])
def test_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change) -> None:
    content = (Path(tissue.__file__).parent / "data" / "brain_tissue.npz").read_bytes()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "brain_tissue.npz").write_bytes(change(content))
    monkeypatch.setattr(tissue, "files", lambda package: tmp_path)
    with pytest.raises(IntegrityError) as caught:
        brain_tissue.__wrapped__()  # past the cache
    error = caught.value
    assert error.exit_code == 4
    assert error.expected == f"SHA-256 {tissue.SHA256}"
    assert error.found
    assert error.found != error.expected
    assert error.where == str(tmp_path / "data" / "brain_tissue.npz")
    assert error.todo


def test_low_pass_leaves_a_fine_grid_alone_and_blurs_a_coarse_one_without_losing_tissue() -> None:
    fractions = brain_tissue().fractions
    np.testing.assert_array_equal(prefiltered(0.5), fractions)
    coarse = prefiltered(7.0)
    assert np.abs(np.diff(coarse, axis=1)).sum() < 0.8 * np.abs(np.diff(fractions, axis=1)).sum()
    np.testing.assert_allclose(coarse.sum(axis=(1, 2)), fractions.sum(axis=(1, 2)), rtol=1e-3)


def test_seats_lie_in_parenchyma_at_the_margin_asked_for() -> None:
    tissue_map = brain_tissue()
    solid = tissue_map.fractions[..., :2].sum(axis=-1) > 0.6
    inside = np.stack([ndimage.binary_erosion(s) for s in solid])  # neighbours 1.5 mm away are parenchyma too
    seats = parenchyma_seats(3.0)
    _, height, width, _ = tissue_map.fractions.shape
    k = np.searchsorted(tissue_map.z_mm, seats[:, 0])
    i = np.rint(seats[:, 1] / tissue_map.spacing_mm[1] + (height - 1) / 2).astype(int)
    j = np.rint(seats[:, 2] / tissue_map.spacing_mm[2] + (width - 1) / 2).astype(int)
    assert inside[k, i, j].all()
    assert 0 < len(parenchyma_seats(6.0)) < len(seats)
