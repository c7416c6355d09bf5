"""HDF5 and zarr files: which of their arrays are images, masks, patients and partitions, by what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from medgan_qa.cohorts.proposal import ranges
from medgan_qa.cohorts.proposal.content import PARTITION, Proposal, Range, Wishes
from medgan_qa.cohorts.proposal.names import PARTITION_WORDS, looks_coded, partition_of, stem, tokens
from medgan_qa.cohorts.readers._common import holds_slices
from medgan_qa.cohorts.readers._quiet import quiet
from medgan_qa.errors import MissingDependencyError

IMAGES = ("images", "image", "x", "img", "imgs", "data", "volume", "volumes", "scans", "source")
TARGETS = ("targets", "target", "reference")
MASKS = ("masks", "mask", "lesion_masks", "lesion_mask", "lesions", "segmentation", "seg")
PATIENTS = ("patient_id", "patient_ids", "patients", "patient", "subject", "subjects", "subject_id")
PARTITIONS = ("partition", "partitions", "split", "splits")


class Array(NamedTuple):
    """One array inside a container."""

    name: str
    """Its whole path inside."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    values: tuple[str, ...] | None
    """Of an array with one axis: its elements as text."""


def propose(folder: Path, paths: Sequence[PurePosixPath], wishes: Wishes) -> Proposal:
    """A proposal for files that hold arrays by name.

    Raises:
        MissingDependencyError: the library for the format is not installed.
    """
    blank = Range(None, windowed=False, reason="")
    proposal = Proposal(folder, "arrays in HDF5 or zarr", [], blank, volumes=False, spacing_known=False)
    found: list[tuple[PurePosixPath, Array]] = []
    for path in paths:
        arrays = _arrays(folder / path)
        if arrays is None:
            proposal.left_out["files that cannot be read as HDF5 or zarr"] += 1
            continue
        for image in _named(arrays, IMAGES) or _only(arrays):
            found.append((path, image))
            proposal.rows += _rows(path, image, arrays, proposal)
    if proposal.rows:
        _finish(proposal, found, wishes)
    return proposal


def _arrays(path: Path) -> list[Array] | None:
    read = _zarr if path.suffix.lower() == ".zarr" else _hdf5
    try:
        with quiet():
            return sorted(read(path))
    except ImportError as error:
        raise MissingDependencyError(
            f"{path.suffix} files need a library that is not installed",
            found=str(error),
            where=path.name,
            todo="Install medgan-qa with its extra `large`.",
        ) from error
    # Both libraries raise whatever the damage leads to.
    except Exception:
        return None


def _hdf5(path: Path) -> list[Array]:
    import h5py

    found: list[Array] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(_array(name, item))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _zarr(path: Path) -> list[Array]:
    import zarr

    def visit(group: Any, before: str) -> Iterator[Array]:
        for name, item in group.members():
            if hasattr(item, "members"):
                yield from visit(item, f"{before}{name}/")
            else:
                yield _array(f"{before}{name}", item)

    return list(visit(zarr.open_group(path, mode="r"), ""))


def _array(name: str, item: Any) -> Array:
    values = None
    if len(item.shape) == 1 and item.shape[0] <= 10_000_000:
        values = tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in item[:].tolist())
    return Array(name, tuple(int(n) for n in item.shape), np.dtype(item.dtype), values)


def _last(array: Array) -> str:
    return array.name.rpartition("/")[2].lower()


def _group(array: Array) -> str:
    return array.name.rpartition("/")[0]


def _named(arrays: Sequence[Array], names: Sequence[str]) -> list[Array]:
    """Arrays of images with one of these names."""
    return [array for array in arrays if _last(array) in names and len(array.shape) > 1]


def _only(arrays: Sequence[Array]) -> list[Array]:
    """The only array with two axes or more, where there is but one."""
    wide = [array for array in arrays if len(array.shape) > 1]
    return wide if len(wide) == 1 else []


def _beside(image: Array, arrays: Sequence[Array], names: Sequence[str]) -> Array | None:
    """The array of one of these names in the group of the image, with as many elements along the first axis."""
    same = [a for a in arrays if _group(a) == _group(image) and _last(a) in names and a.shape[:1] == image.shape[:1]]
    return same[0] if same else None


def _rows(path: PurePosixPath, image: Array, arrays: Sequence[Array], proposal: Proposal) -> Iterator[dict[str, str]]:
    """One row a slice where somebody says whose each one is or there are many in one file, else one for the volume."""
    people, split = _beside(image, arrays, PATIENTS), _beside(image, arrays, PARTITIONS)
    target, mask = _beside(image, arrays, TARGETS), _beside(image, arrays, MASKS)
    inside = partition_of([*path.parts[:-1], *_group(image).split("/")]) or partition_of([stem(path)])
    base = "_".join(part for part in (stem(path), *_group(image).split("/")) if part)
    common = {"partition": inside or PARTITION}
    if not holds_slices(image.shape):
        yield {"case_id": base, "patient_id": base, **common, **_cells(path, image, target, mask, "")}
        return
    if people is None:
        proposal.volumes = True
        yield {"case_id": base, "patient_id": base, **common, **_cells(path, image, target, mask, "")}
        return
    for index in range(image.shape[0]):
        word = "" if split is None or split.values is None else PARTITION_WORDS.get(split.values[index].lower(), "")
        yield {
            "case_id": f"{base}_{index:05d}",
            "patient_id": "" if people.values is None else people.values[index],
            "partition": word or common["partition"],
            **_cells(path, image, target, mask, f"[{index}]"),
        }


def _cells(path: PurePosixPath, image: Array, target: Array | None, mask: Array | None, index: str) -> dict[str, str]:
    arrays = {"image": image, "target": target, "lesion_mask": mask}
    return {column: "" if array is None else f"{path}#{array.name}{index}" for column, array in arrays.items()}


def _finish(proposal: Proposal, found: Sequence[tuple[PurePosixPath, Array]], wishes: Wishes) -> None:
    given = ranges.wished(wishes)
    if given is None and {array.dtype for _, array in found} == {np.dtype(np.uint8)}:
        given = Range((0.0, 255.0), windowed=False, reason="8 bit numbers")
    proposal.span = given or Range(None, windowed=False, reason="arrays that are not of 8 bit numbers: nothing says it")
    names = ", ".join(sorted({array.name for _, array in found}))
    proposal.understood.append(f"images in the array(s) {names}")
    people = {row["patient_id"] for row in proposal.rows}
    if proposal.volumes:
        proposal.guessed.append("every array of slices is one volume of one patient: no array beside it names patients")
    else:
        proposal.understood.append(f"{len(people)} patients from an array beside the images")
    if not any(tokens(path.name) and partition_of([stem(path)]) for path, _ in found):
        proposal.guessed.append(f"partition {PARTITION} where no array, group or file name says another")
    if not all(map(looks_coded, {text for row in proposal.rows for text in (row["patient_id"], row["case_id"])})):
        proposal.identifiers = "direct"
