"""NIfTI volumes slice by slice, against nibabel's own reorientation."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medgan_qa.cohorts.readers import ArrayCache, Volume, open_volume, read_image
from medgan_qa.errors import DatasetError

Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated
SHAPE = (5, 6, 7)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
PLANES = ("axial", "coronal", "sagittal")


def opened(path: Path, plane: str = "axial", **kwargs: Any) -> Volume:
    volume = open_volume(path, plane, **kwargs)  # type: ignore[arg-type]
    assert volume is not None
    return volume


def refusal(path: Path, plane: str = "axial") -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        opened(path, plane).read(0)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


def saved(path: Path, array: NDArray[Any], affine: NDArray[Any], kind: Any = Nifti1Image) -> Path:
    picture = kind(array, affine)
    picture.header.set_xyzt_units("mm")
    nib.save(picture, path)
    return path


def affine_of(order: tuple[int, ...], signs: tuple[int, ...], tilt: float = 0.0) -> NDArray[np.float64]:
    """Storage axis i runs along patient axis `order[i]` (RAS), 1, 2 and 3 mm a step, turned a little about x."""
    linear = np.zeros((3, 3))
    for axis, (patient, sign) in enumerate(zip(order, signs, strict=True)):
        linear[patient, axis] = sign * (axis + 1)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ linear, (-11.0, 22.0, -33.0)
    return affine


def shown(canonical: NDArray[Any], plane: str, k: int) -> NDArray[Any]:
    """The slice of an array in RAS order, as a radiologist sees it."""
    if plane == "axial":
        return canonical[::-1, ::-1, k].T
    if plane == "coronal":
        return canonical[::-1, ::-1, ::-1][:, k].T
    return canonical[k, ::-1, ::-1].T


@given(
    order=st.permutations((0, 1, 2)),
    signs=st.tuples(*[st.sampled_from((1, -1))] * 3),
    tilt=st.floats(-0.6, 0.6),
    plane=st.sampled_from(PLANES),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_prop_slices_are_those_of_nibabels_canonical_order(
    tmp_path_factory: Any, order: list[int], signs: tuple[int, ...], tilt: float, plane: str, suffix: str
) -> None:
    affine = affine_of(tuple(order), signs, tilt)
    path = saved(tmp_path_factory.mktemp("nifti") / f"a{suffix}", VOXELS, affine)
    canonical: Any = nib.as_closest_canonical(nib.load(path))
    array = np.asarray(canonical.dataobj)
    volume = opened(path, plane)
    assert len(volume) == array.shape[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]]
    for k in range(len(volume)):
        image = volume.read(k)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, shown(array, plane, k)[None])
    # Every element keeps its place in the patient: the affine, in LPS, says where the element of that number was.
    found, to_ras = volume.affine, np.diag([-1, -1, 1, 1])
    assert found is not None
    for k, row, column in itertools.product((0, len(volume) - 1), (0, 2), (0, 3)):
        stored = np.unravel_index(int(volume.read(k)[0, row, column]), SHAPE)
        np.testing.assert_allclose(to_ras @ found @ [k, row, column, 1], affine @ [*stored, 1], atol=1e-4)


@pytest.mark.parametrize(("plane", "spacing", "slice_mm"), [("axial", (2, 1), 3), ("coronal", (3, 1), 2)])
def test_spacing_follows_the_plane(tmp_path: Path, plane: str, spacing: tuple[int, int], slice_mm: float) -> None:
    volume = opened(saved(tmp_path / "a.nii", VOXELS, affine_of((0, 1, 2), (1, 1, 1))), plane)
    assert volume.spacing_mm == pytest.approx(spacing)
    assert volume.slice_mm == pytest.approx(slice_mm)


def test_units_other_than_millimetres_are_converted(tmp_path: Path) -> None:
    picture = Nifti1Image(VOXELS, affine_of((0, 1, 2), (1, 1, 1)))
    picture.header.set_xyzt_units("meter")
    nib.save(picture, tmp_path / "a.nii")
    volume = opened(tmp_path / "a.nii")
    assert volume.spacing_mm == pytest.approx((2000, 1000))
    assert volume.slice_mm == pytest.approx(3000)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slope_and_intercept_are_applied_and_a_mask_keeps_its_zeros(tmp_path: Path, suffix: str) -> None:
    plain = saved(tmp_path / "plain.nii", np.where(VOXELS % 5 == 0, -3, 7).astype(np.int16), np.eye(4))
    content = bytearray(plain.read_bytes())
    content[112:120] = struct.pack("<ff", 0.1, 0.3)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(bytes(content)) if suffix == ".nii.gz" else bytes(content))
    oracle: Any = nib.load(path)
    volume = opened(path)
    np.testing.assert_allclose(volume.read(3), shown(oracle.get_fdata(), "axial", 3)[None], rtol=1e-6)
    np.testing.assert_array_equal(volume.read_mask(3), shown(VOXELS % 5 != 0, "axial", 3))


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    voxels = np.arange(65536, dtype=np.uint16).reshape(64, 64, 16)
    volume = opened(saved(tmp_path / "a.nii.gz", voxels, np.eye(4)))
    assert len(np.unique([volume.read(k) for k in range(16)])) == 65536


def test_nifti_2_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", VOXELS, np.eye(4), nib.Nifti2Image)
    np.testing.assert_array_equal(opened(path).read(2), shown(VOXELS, "axial", 2)[None])


def test_a_packed_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.nii.gz", VOXELS, np.eye(4))
    cache = ArrayCache()
    volume = opened(path, cache=cache)
    first = volume.read(0)
    assert cache.nbytes == VOXELS.nbytes
    path.unlink()
    np.testing.assert_array_equal(volume.read(0), first)
    volume.read(len(volume) - 1)


def test_a_plain_file_is_never_read_as_a_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", VOXELS, np.eye(4))
    volume = opened(path)
    content = bytearray(path.read_bytes())
    size = VOXELS[..., 0].nbytes
    content[-size:] = b"\xff" * size  # the last slice changes after the volume was opened
    path.write_bytes(bytes(content))
    np.testing.assert_array_equal(volume.read(0), shown(VOXELS, "axial", 0)[None])
    assert (volume.read(len(volume) - 1) == -1).all()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 1, 1)])
def test_one_slice_is_no_volume_and_keeps_its_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stored = np.arange(20, dtype=np.int16).reshape(shape)
    for suffix in (".nii", ".nii.gz"):
        path = saved(tmp_path / f"a{suffix}", stored, np.diag([-2, 3, 1, 1]))
        assert open_volume(path) is None
        np.testing.assert_array_equal(read_image(path)[0][0], stored.reshape(4, 5))


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (4, 5, 1, 3)])
def test_more_than_three_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    error = refusal(saved(tmp_path / "a.nii", np.zeros(shape, np.int16), np.eye(4)))
    assert error.expected == "a volume with three axes"


def test_an_affine_without_a_volume_is_refused(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 2] = affine[:3, 1]
    path = saved(tmp_path / "a.nii", VOXELS, np.eye(4))
    content = bytearray(path.read_bytes())
    content[254:256] = struct.pack("<h", 2)  # sform_code
    content[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(bytes(content))
    assert "onto a plane" in str(refusal(path))


def test_nan_is_counted_in_the_slice_that_has_it(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    volume = opened(saved(tmp_path / "a.nii", voxels, np.eye(4)))
    volume.read(2)
    with pytest.raises(DatasetError, match="cannot be used") as caught:
        volume.read(3)
    assert caught.value.found == "1 of 30 elements are NaN or infinite"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_volumes_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    voxels = np.random.default_rng(1).integers(0, 999, (16, 16, 16)).astype(np.int16)
    path = saved(tmp_path / f"a{suffix}", voxels, np.eye(4))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "a.nii" in refusal(path).problem


def test_a_flipped_bit_in_a_packed_volume_is_found(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 999, (16, 16, 16)).astype(np.int16)
    path = saved(tmp_path / "a.nii.gz", voxels, np.eye(4))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum, which only who reads to the end sees
    path.write_bytes(bytes(content))
    assert "CRC" in str(refusal(path))
