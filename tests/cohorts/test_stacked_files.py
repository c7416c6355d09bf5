"""Slices of files that do not tell how they lie in the patient: TIFF pages, NumPy arrays, HDF5 and zarr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from medgan_qa.cohorts.readers import Volume, kind_of, open_volume, parsed, read_image, read_mask
from medgan_qa.errors import DatasetError, MissingDependencyError

h5py: Any = pytest.importorskip("h5py")
zarr: Any = pytest.importorskip("zarr")

SLICES = np.arange(7 * 5 * 6, dtype=np.uint16).reshape(7, 5, 6) * 300
COLOURS = np.random.default_rng(3).integers(0, 255, (7, 5, 6, 3)).astype(np.uint8)


def opened(path: Path, plane: str = "axial", **kwargs: Any) -> Volume:
    volume = open_volume(path, plane, **kwargs)  # type: ignore[arg-type]
    assert volume is not None
    return volume


def refusal(read: Callable[[], Any]) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        read()
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


def write_tiff(folder: Path, array: NDArray[Any]) -> Path:
    kind = "rgb" if array.ndim == 4 else "minisblack"
    tifffile.imwrite(folder / "a.tif", array, photometric=kind)
    return folder / "a.tif"


def write_npy(folder: Path, array: NDArray[Any]) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def write_npz(folder: Path, array: NDArray[Any]) -> Path:
    np.savez_compressed(folder / "a.npz", image=array, mask=array > 900)
    return folder / "a.npz"


def write_h5(folder: Path, array: NDArray[Any]) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("ct/images", data=array, chunks=(1, *array.shape[1:]), compression="gzip")
    return folder / "a.h5#ct/images"


def write_zarr(folder: Path, array: NDArray[Any]) -> Path:
    group = zarr.open_group(folder / "a.zarr", mode="w")
    group.create_array("ct/images", data=array, chunks=(1, *array.shape[1:]))
    return folder / "a.zarr#ct/images"


def write_zarr_2(folder: Path, array: NDArray[Any]) -> Path:
    group = zarr.open_group(folder / "b.zarr", mode="w", zarr_format=2)
    group.create_array("ct/images", data=array, chunks=(2, *array.shape[1:]))
    return folder / "b.zarr#ct/images"


WRITERS = [write_tiff, write_npy, write_npz, write_h5, write_zarr, write_zarr_2]


@pytest.mark.parametrize("write", WRITERS)
def test_slices_come_in_the_order_of_the_file(tmp_path: Path, write: Callable[..., Path]) -> None:
    volume = opened(write(tmp_path, SLICES))
    assert volume.shape == SLICES.shape
    assert (volume.spacing_mm, volume.slice_mm, volume.affine) == (None, None, None)
    for k in (6, 0, 3):
        assert volume.read(k).dtype == np.float32
        np.testing.assert_array_equal(volume.read(k), SLICES[k][None])
        if write is not write_npz:
            np.testing.assert_array_equal(volume.read_mask(k), SLICES[k] != 0)


@pytest.mark.parametrize("write", WRITERS)
def test_colours_become_channels(tmp_path: Path, write: Callable[..., Path]) -> None:
    volume = opened(write(tmp_path, COLOURS))
    np.testing.assert_array_equal(volume.read(4), np.moveaxis(COLOURS[4], 2, 0))
    assert "a mask with one channel" in str(refusal(lambda: volume.read_mask(4)))


@pytest.mark.parametrize("write", WRITERS)
def test_another_plane_than_their_own_cannot_be_found(tmp_path: Path, write: Callable[..., Path]) -> None:
    assert "coronal" in str(refusal(lambda: opened(write(tmp_path, SLICES), "coronal")))


@pytest.mark.parametrize("write", WRITERS)
def test_a_volume_is_no_image(tmp_path: Path, write: Callable[..., Path]) -> None:
    assert "[volumes]" in str(refusal(lambda: read_image(write(tmp_path, SLICES))))


def test_the_mask_of_an_archive_is_the_one_named_so(tmp_path: Path) -> None:
    path = write_npz(tmp_path, SLICES)
    np.testing.assert_array_equal(opened(path, mask=True).read_mask(2), SLICES[2] > 900)
    np.testing.assert_array_equal(opened(path).read(2)[0], SLICES[2])


@pytest.mark.parametrize("write", [write_h5, write_zarr])
def test_one_slice_of_a_container_is_an_image(tmp_path: Path, write: Callable[..., Path]) -> None:
    cell = str(write(tmp_path, SLICES))
    path = Path(f"{cell}[4]")
    assert open_volume(path) is None
    np.testing.assert_array_equal(read_image(path)[0][0], SLICES[4])
    np.testing.assert_array_equal(read_mask(path), SLICES[4] != 0)
    assert "at least 8 slices" in str(refusal(lambda: read_image(Path(f"{cell}[7]"))))


@pytest.mark.parametrize("write", [write_h5, write_zarr])
def test_two_axes_of_a_container_are_an_image(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path, SLICES[1])
    assert open_volume(path) is None
    np.testing.assert_array_equal(read_image(path)[0][0], SLICES[1])


@pytest.mark.parametrize("name", ["a.h5#none", "a.h5#ct", "a.h5#ct/images/x", "a.zarr#none", "a.zarr#ct"])
def test_names_that_are_no_array_are_refused(tmp_path: Path, name: str) -> None:
    write_h5(tmp_path, SLICES)
    write_zarr(tmp_path, SLICES)
    refusal(lambda: read_image(tmp_path / name))


@pytest.mark.parametrize("kind", ["external", "soft", "virtual", "storage"])
def test_hdf5_leads_nowhere_else(tmp_path: Path, kind: str) -> None:
    write_h5(tmp_path, SLICES)
    (tmp_path / "raw").write_bytes(SLICES.tobytes())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        if kind == "external":
            file["x"] = h5py.ExternalLink("a.h5", "ct/images")
        elif kind == "soft":
            file["x"] = h5py.SoftLink("/x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(SLICES.shape, SLICES.dtype)
            layout[:] = h5py.VirtualSource(tmp_path / "a.h5", "ct/images", SLICES.shape)
            file.create_virtual_dataset("x", layout)
        else:
            external = [(str(tmp_path / "raw"), 0, SLICES.nbytes)]
            file.create_dataset("x", SLICES.shape, SLICES.dtype, external=external)
    error = refusal(lambda: opened(tmp_path / "b.h5#x"))
    assert "other" in str(error.found) or "link" in str(error.found)


@pytest.mark.parametrize("codec", ["pickle", "json2", "vlen-utf8"])
def test_zarr_codecs_that_run_code_are_refused(tmp_path: Path, codec: str) -> None:
    folder = tmp_path / "a.zarr" / "x"
    folder.mkdir(parents=True)
    about = {"zarr_format": 2, "shape": [5, 5], "chunks": [5, 5], "dtype": "|O", "fill_value": 0, "order": "C"}
    (folder / ".zarray").write_text(json.dumps({**about, "compressor": None, "filters": [{"id": codec}]}))
    (folder / "0.0").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    assert codec in str(refusal(lambda: read_image(tmp_path / "a.zarr#x")))


def test_a_zarr_path_cannot_climb(tmp_path: Path) -> None:
    write_zarr(tmp_path, SLICES)
    (tmp_path / "b.zarr").mkdir()
    assert "leaves it" in str(refusal(lambda: read_image(tmp_path / "b.zarr#../a.zarr/ct/images")))


@pytest.mark.parametrize(("write", "module"), [(write_h5, "h5py"), (write_zarr, "zarr")])
def test_a_missing_library_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path], module: str
) -> None:
    path = write(tmp_path, SLICES)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match="not installed") as caught:
        open_volume(path)
    assert module in str(caught.value)


@pytest.mark.parametrize("write", [write_tiff, write_npy, write_npz, write_h5])
def test_truncated_files_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    noise = np.random.default_rng(1).integers(0, 65535, (9, 32, 32)).astype(np.uint16)
    path = write(tmp_path, noise)
    file = Path(parsed(str(path)).file)
    content = file.read_bytes()
    for size in (len(content) // 2, 20, 0):
        file.write_bytes(content[:size])
        refusal(lambda: opened(path).read(8))


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(SLICES[0], photometric="minisblack")
        writer.write(SLICES[0][:3], photometric="minisblack")
    assert "pages of one size" in str(refusal(lambda: open_volume(tmp_path / "a.tif")))


def test_a_tiff_whose_pages_run_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path, SLICES)
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[-1]
        pointer = last.offset + 2 + 12 * len(last.tags)
    content = bytearray(path.read_bytes())
    content[pointer : pointer + 4] = first.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert "circle" in str(refusal(lambda: open_volume(path)))


@pytest.mark.parametrize("name", ["a#1.png", "b[2].npy"])
def test_signs_in_the_names_of_other_files_are_part_of_them(tmp_path: Path, name: str) -> None:
    assert parsed(name).file == name
    assert kind_of(tmp_path / name) == f".{name[-3:]}"
