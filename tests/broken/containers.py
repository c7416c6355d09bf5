"""Broken HDF5 files and zarr folders."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.broken.mutants import Mutant, generic, mutant, put
from tests.broken.pictures import FLOATS


def hdf5(write: Callable[[Any], object]) -> bytes:
    """An HDF5 file held in memory."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def _valid(file: Any) -> None:
    file.create_dataset("images", data=FLOATS)


def _packed(file: Any) -> None:
    file.create_dataset("images", data=np.stack([FLOATS] * 4), chunks=(1, 32, 32), compression="gzip")


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from generic("hdf5", "image", "set.h5#images", hdf5(_valid), flips=12)
    yield from generic("hdf5-packed", "image", "set.h5#images[2]", hdf5(_packed), flips=12)
    for name, write in HDF5.items():
        yield mutant(f"hdf5/{name}", "image", "set.h5#images", hdf5(write))
    named = {
        "alone": "set.h5",
        "with-nothing": "set.h5#",
        "unknown": "set.h5#none",
        "slice-9": "set.h5#images[9]",
        "slice-99999999999": "set.h5#images[99999999999]",
        "leaving": "set.h5#../images",
    }
    for name, cell in named.items():
        yield mutant(f"hdf5/named-{name}", "image", cell, hdf5(_packed))
    yield from _zarr()


def _group(file: Any) -> None:
    file.create_group("images")


def _circle(file: Any) -> None:
    import h5py

    file["images"] = h5py.SoftLink("/other")
    file["other"] = h5py.SoftLink("/images")


def _outside(file: Any) -> None:
    import h5py

    file["images"] = h5py.ExternalLink("/etc/passwd", "/images")


def _raw_outside(file: Any) -> None:
    file.create_dataset("images", (8, 8), "u1", external=[("/etc/passwd", 0, 64)])


def _virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((32, 32), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "images", (32, 32))
    file.create_virtual_dataset("images", layout)


HDF5: dict[str, Callable[[Any], object]] = {
    "empty": lambda file: None,
    "group": _group,
    "links-in-a-circle": _circle,
    "link-to-another-file": _outside,
    "pixels-in-another-file": _raw_outside,
    "virtual": _virtual,
    "huge-shape": lambda file: file.create_dataset("images", (10**6, 10**6), "f4", chunks=(64, 64), compression="gzip"),
    "huge-chunk": lambda file: file.create_dataset("images", (30000, 30000), "f4", chunks=(30000, 30000)),
    "texts": lambda file: file.create_dataset("images", data=np.array([b"a", b"b"])),
    "long-texts": lambda file: file.create_dataset("images", data=["a", "b"]),
    "records": lambda file: file.create_dataset("images", data=np.zeros((4, 4), [("a", "f4")])),
    "nothing": lambda file: file.create_dataset("images", dtype="f4", shape=None),
    "number": lambda file: file.create_dataset("images", data=1.0),
    "no-rows": lambda file: file.create_dataset("images", (0, 32), "f4"),
    "nan": lambda file: file.create_dataset("images", data=np.full((8, 8), np.nan)),
    "complex": lambda file: file.create_dataset("images", data=np.zeros((8, 8), complex)),
    "references": lambda file: file.create_dataset("images", data=[file.ref, file.ref]),
}


def _stored(folder: Path) -> Path:
    """A valid zarr folder of version 3, put together by hand."""
    place = folder / "set.zarr" / "images"
    (place / "c" / "0").mkdir(parents=True)
    (place.parent / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}), encoding="utf-8")
    (place / "zarr.json").write_text(json.dumps(METADATA), encoding="utf-8")
    (place / "c" / "0" / "0").write_bytes(FLOATS.tobytes())
    return place


METADATA: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [32, 32],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [32, 32]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0.0,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    "attributes": {},
}


def _whole(folder: Path) -> None:
    _stored(folder)


def _edited(**changed: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (_stored(folder) / "zarr.json").write_text(json.dumps({**METADATA, **changed}), encoding="utf-8")

    return write


def _described(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (_stored(folder) / "zarr.json").write_bytes(content)

    return write


def _chunk(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (_stored(folder) / "c" / "0" / "0").write_bytes(content)

    return write


def _linked(target: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        chunk = _stored(folder) / "c" / "0" / "0"
        chunk.unlink()
        chunk.symlink_to(target)

    return write


def _inside_itself(folder: Path) -> None:
    place = folder / "set.zarr"
    place.mkdir()
    (place / "images").symlink_to(".")


def _zarr() -> Iterator[Mutant]:
    grid = {"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20]}}
    text = json.dumps(METADATA).encode()
    refused: dict[str, Callable[[Path], None]] = {
        "huge-shape": _edited(shape=[10**9, 10**9]),
        "huge-chunk": _edited(shape=[2**20, 2**20], chunk_grid=grid),
        "negative-shape": _edited(shape=[-32, 32]),
        "shape-of-words": _edited(shape="large"),
        "shape-of-fractions": _edited(shape=[32.5, 32]),
        "no-axes": _edited(shape=[], chunk_grid={"name": "regular", "configuration": {"chunk_shape": []}}),
        "chunks-of-none": _edited(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0, 0]}}),
        "unknown-codec": _edited(codecs=[{"name": "bytes"}, {"name": "pickle"}]),
        "no-codecs": _edited(codecs=[]),
        "unknown-type": _edited(data_type="object"),
        "unknown-format": _edited(zarr_format=77),
        "unknown-node": _edited(node_type="door"),
        "codec-that-must-be-understood": _edited(surprise={"must_understand": True}),
        "no-json": _described(b"{'shape': [32, 32]}"),
        "half-of-the-json": _described(text[: len(text) // 2]),
        "empty-json": _described(b""),
        "json-of-a-list": _described(b"[]"),
        "deep-json": _described(b"[" * 200_000 + b"]" * 200_000),
        "no-text": _described(bytes(range(256))),
        "truncated-chunk": _chunk(FLOATS.tobytes()[:100]),
        "empty-chunk": _chunk(b""),
        "chunk-that-is-a-device": _linked("/dev/zero"),
        "chunk-linked-to-itself": _linked("0"),
        "array-inside-itself": _inside_itself,
        "no-folder": lambda folder: put(folder / "set.zarr", b"a file"),
        "empty-folder": lambda folder: (folder / "set.zarr").mkdir(),
    }
    for name, write in refused.items():
        yield Mutant(f"zarr/{name}", "image", "set.zarr#images", write)
    for name, write in {
        "fill-nan": _edited(fill_value="NaN"),
        "chunk-too-long": _chunk(FLOATS.tobytes() * 2),
        "twice-in-json": _described(text[:-1] + b', "shape": [16, 16]}'),
    }.items():
        yield Mutant(f"zarr/{name}", "image", "set.zarr#images", write, False)
    for cell in ("set.zarr", "set.zarr#..", "set.zarr#../../etc", "set.zarr#none", "set.zarr#images[3]"):
        name = cell[9:].replace("/", "-") or "alone"
        yield Mutant(f"zarr/named-{name}", "image", cell, _whole)
