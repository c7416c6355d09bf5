"""Broken TOML, CSV, Parquet and JSON: datasets, model cards, criteria, locks and Records."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.broken.mutants import Kind, Mutant, generic, mutant, put
from tests.broken.pictures import npy

DATASET = """schema = "medgan-qa/dataset/1"
name = "two cases"
cases = "cases.csv"
value_range = [0.0, 1.0]
spacing_mm = [1.0, 1.0]
"""
CASES = "case_id,patient_id,partition,image\na,p1,test,a.npy\nb,p2,test,b.npy\n"
CARD = """schema = "medgan-qa/card/1"
name = "a model"
version = "1"
task = "translation"
channels_in = 1
channels_out = 1
range_in = [0.0, 1.0]
range_out = [0.0, 1.0]
"""
CRITERIA = """schema = "medgan-qa/criteria/1"
protocol = { id = "VP-1", revision = "A", title = "A protocol" }
alpha = 0.05
multiplicity = "none"

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = { max = 0.05 }
judged_on = "upper"
rationale = "A reason."
hazard = "HZ-03"
requirement = "SRS-041"
"""


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from _dataset_files()
    yield from _tables()
    yield from _parquet()
    for name, kind, cell, seed in (
        ("card", "card", "model.card.toml", CARD),
        ("criteria", "criteria", "criteria.toml", CRITERIA),
    ):
        yield from generic(name, kind, cell, seed.encode(), whole=False)
        yield from _toml(name, kind, cell, seed)
    yield from _values()


def _toml(format_: str, kind: Kind, cell: str, seed: str) -> Iterator[Mutant]:
    """What no TOML reader may stumble over."""
    first = seed.splitlines()[1]
    key = first.partition(" ")[0]
    made = {
        "no-text": bytes(range(256)),
        "utf-16": seed.encode("utf-16"),
        "latin-1": seed.replace("a ", "\xe4 ", 1).encode("latin1"),
        "nul": seed.encode().replace(b"\n", b"\0\n", 1),
        "deep-arrays": (seed + "deep = " + "[" * 20_000 + "]" * 20_000).encode(),
        "deep-tables": (seed + "deep = " + "{a=" * 5_000 + "1" + "}" * 5_000).encode(),
        "key-twice": (seed + first + "\n").encode(),
        "line-without-value": (key + " =\n" + seed).encode(),
        "quote-left-open": (seed + 'note = "open').encode(),
        "unknown-schema": seed.replace("/1", "/99", 1).encode(),
        "schema-is-a-table": seed.replace(seed.splitlines()[0], "schema = {a = 1}").encode(),
        "no-schema": "\n".join(seed.splitlines()[1:]).encode(),
        "json": b'{"schema": "x"}',
        "yaml-bomb": b"a: &a [x,x]\nb: &b [*a,*a]\n",
        "megabytes": (seed + "note = '" + "x" * 2**22 + "'\n" + "[").encode(),
    }
    for name, content in made.items():
        yield mutant(f"{format_}/{name}", kind, cell, content)
    left = {
        "long-dotted-key": seed + ".".join(["a"] * 5_000) + " = 1\n",
        "long-integer": seed + "number = " + "9" * 100_000 + "\n",
        "byte-order-mark": "\ufeff" + seed,
        "carriage-returns": seed.replace("\n", "\r"),
    }
    for name, text in left.items():
        yield mutant(f"{format_}/{name}", kind, cell, text.encode(), False)


def dataset(text: str = DATASET, table: str | bytes = CASES, name: str = "cases.csv") -> Callable[[Path], None]:
    """Writes a dataset of two images."""

    def write(folder: Path) -> None:
        for image in ("a.npy", "b.npy"):
            put(folder / image, npy())
        put(folder / name, table if isinstance(table, bytes) else table.encode())
        put(folder / "data.toml", text.encode("utf-8", "surrogateescape"))

    return write


def _of_dataset(name: str, write: Callable[[Path], None], refused: bool = True) -> Mutant:
    return Mutant(name, "dataset", "data.toml", write, refused)


def _dataset_files() -> Iterator[Mutant]:
    for plain in (
        *generic("dataset", "dataset", "data.toml", DATASET.encode(), whole=False),
        *_toml("dataset", "dataset", "data.toml", DATASET),
    ):
        yield plain._replace(write=_beside(plain.write))
    changed = {
        "cases-leave": ('"cases.csv"', '"../../../../etc/passwd"'),
        "cases-absolute": ('"cases.csv"', '"/etc/passwd"'),
        "cases-is-itself": ('"cases.csv"', '"data.toml"'),
        "cases-is-a-folder": ('"cases.csv"', '"."'),
        "cases-is-a-device": ('"cases.csv"', '"/dev/zero"'),
        "cases-is-a-number": ('"cases.csv"', "7"),
        "cases-with-nul": ('"cases.csv"', '"cases\\u0000.csv"'),
        "cases-very-long": ('"cases.csv"', '"' + "x" * 5000 + '"'),
        "range-nan": ("[0.0, 1.0]", "[nan, 1.0]"),
        "range-infinite": ("[0.0, 1.0]", "[-inf, inf]"),
        "range-reversed": ("[0.0, 1.0]", "[1.0, 0.0]"),
        "range-of-one": ("[0.0, 1.0]", "[1.0]"),
        "range-of-texts": ("[0.0, 1.0]", '["a", "b"]'),
        "range-of-booleans": ("[0.0, 1.0]", "[false, true]"),
        "range-nested": ("[0.0, 1.0]", "[[0.0], [1.0]]"),
        "range-enormous": ("[0.0, 1.0]", "[0, 1" + "0" * 400 + "]"),
        "spacing-0": ("[1.0, 1.0]", "[0.0, 1.0]"),
        "spacing-negative": ("[1.0, 1.0]", "[-1.0, 1.0]"),
        "spacing-nan": ("[1.0, 1.0]", "[nan, nan]"),
        "spacing-of-dates": ("[1.0, 1.0]", "[2020-01-01, 2020-01-02]"),
        "name-is-empty": ('"two cases"', '""'),
    }
    for name, (old, new) in changed.items():
        yield _of_dataset(f"dataset/{name}", dataset(DATASET.replace(old, new, 1)))
    for name, line in {
        "unknown-key": "colour = 1",
        "volumes-is-a-number": "volumes = 1",
        "volumes-every-0": "[volumes]\nevery = 0",
        "volumes-plane-unknown": '[volumes]\nplane = "sideways"',
        "volumes-within-nan": "[volumes]\nwithin = [nan, 1.0]",
        "unreadable-nan": "exclude_unreadable = nan",
        "unreadable-all": "exclude_unreadable = 2.0",
        "identifiers-unknown": 'identifiers = "names"',
        "independence-of-words": 'independence = "yes"',
        "independence-date": '[independence]\ntest_acquired_after = "yesterday"',
        "lesions-nowhere": 'lesion_in = ["moon"]',
        "window-and-range": "window = [0, 1]",
    }.items():
        yield _of_dataset(f"dataset/{name}", dataset(DATASET + line + "\n"))


def _beside(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """A changed description with everything else of the dataset beside it."""

    def both(folder: Path) -> None:
        dataset()(folder)
        write(folder)

    return both


def _tables() -> Iterator[Mutant]:
    cells = {
        "leaves": "../../../../../../etc/passwd",
        "leaves-to-an-image": "../../../../../../etc/image.npy",
        "absolute": "/etc/passwd",
        "device": "/dev/zero",
        "folder": ".",
        "itself": "cases.csv",
        "nothing-there": "c.npy",
        "very-long": "x" * 5000 + ".npy",
        "nul": "a\0.npy",
        "other-kind": "data.toml",
        "address": "https://example.org/a.npy",
        "empty": "",
        "newline": '"a\nb.npy"',
        "container-outside": "../../../etc/passwd.h5#images",
    }
    for name, cell in cells.items():
        yield _of_dataset(f"csv/cell-{name}", dataset(table=CASES.replace("a.npy", cell)))
    yield _of_dataset("csv/cell-linked-to-itself", _circle)
    head, *rows = CASES.splitlines(keepends=True)
    broken: dict[str, str | bytes] = {
        "empty": "",
        "header-alone": head,
        "no-header": "".join(rows),
        "header-twice": head.replace("image", "patient_id") + "".join(rows),
        "unknown-column": head.replace("image", "image,colour") + "".join(rows),
        "case-twice": head + rows[0] * 2,
        "ragged": head + "a,p1\n",
        "too-wide": head + "a,p1,test,a.npy,x,y,z\n",
        "unknown-partition": CASES.replace("test", "exam"),
        "quote-left-open": head + 'a,"p1,test,a.npy\n',
        "field-of-megabytes": head + "a," + "p" * 2**21 + ",test,a.npy\n",
        "no-text": bytes(range(256)) * 4,
        "utf-16": CASES.encode("utf-16"),
        "latin-1": CASES.replace("p1", "M\xfcller").encode("latin1"),
        "hundred-thousand-columns": ",".join(f"attr.c{k}" for k in range(100_000)) + "\n",
        "semicolons": CASES.replace(",", ";"),
        "no-patients": CASES.replace("p1", "").replace("p2", ""),
        "slice-of-words": CASES.replace("image\n", "image,volume,slice\n").replace(".npy\n", ".npy,v,three\n"),
    }
    for name, table in broken.items():
        yield _of_dataset(f"csv/{name}", dataset(table=table))
    left = {
        "carriage-returns": CASES.replace("\n", "\r"),
        "byte-order-mark": "\ufeff" + CASES,
        "empty-lines": CASES + "\n" * 5000,
        "truncated": CASES[:-9],
        "nul": CASES.replace("p1", "p\0"),
    }
    for name, table in left.items():
        yield _of_dataset(f"csv/{name}", dataset(table=table), False)


def _circle(folder: Path) -> None:
    dataset()(folder)
    (folder / "a.npy").unlink()
    (folder / "a.npy").symlink_to("a.npy")


def parquet(**columns: Any) -> bytes:
    """A Parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    usual = {"case_id": ["a", "b"], "patient_id": ["p1", "p2"], "partition": ["test"] * 2, "image": ["a.npy", "b.npy"]}
    stream = io.BytesIO()
    pq.write_table(pa.table({k: v for k, v in {**usual, **columns}.items() if v is not None}), stream)
    return stream.getvalue()


def _parquet() -> Iterator[Mutant]:
    text = DATASET.replace("cases.csv", "cases.parquet")
    for one in generic("parquet", "dataset", "cases.parquet", parquet(), flips=12):
        both = dataset(text, parquet(), "cases.parquet")
        yield one._replace(cell="data.toml", write=_after(both, one.write))
    broken = {
        "no-column-of-images": parquet(image=None),
        "nested": parquet(image=[{"path": "a.npy"}, {"path": "b.npy"}]),
        "lists": parquet(image=[["a.npy"], ["b.npy"]]),
        "nulls": parquet(image=[None, None]),
        "bytes": parquet(image=[b"\xff\xfe", b"\xff"]),
        "numbers": parquet(partition=[1, 2]),
        "no-rows": parquet(case_id=[], patient_id=[], partition=[], image=[]),
        "csv-inside": CASES.encode(),
        "footer-of-4-gigabytes": parquet()[:-8] + b"\xff\xff\xff\x7fPAR1",
    }
    for name, table in broken.items():
        yield _of_dataset(f"parquet/{name}", dataset(text, table, "cases.parquet"))


def _after(first: Callable[[Path], None], then: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        first(folder)
        then(folder)

    return write


def _values() -> Iterator[Mutant]:
    """Cards and criteria that are TOML, and make no sense."""
    cards = {
        "channels-negative": ("channels_in = 1", "channels_in = -1"),
        "channels-a-fraction": ("channels_in = 1", "channels_in = 1.5"),
        "channels-true": ("channels_in = 1", "channels_in = true"),
        "range-nan": ("range_in = [0.0, 1.0]", "range_in = [nan, 1.0]"),
        "range-beyond-float": ("range_in = [0.0, 1.0]", "range_in = [0, 1" + "0" * 400 + "]"),
        "range-of-one": ("range_in = [0.0, 1.0]", "range_in = [1.0, 1.0]"),
        "unknown-task": ('"translation"', '"divination"'),
        "task-is-a-list": ('"translation"', '["translation"]'),
        "no-name": ('name = "a model"', 'name = ""'),
        "latent-missing": ('"translation"', '"synthesis"'),
        "scale-0": ('"translation"', '"super-resolution"\nscale = 0'),
        "inverse-is-a-number": ("channels_in = 1", "inverse = 7\nchannels_in = 1"),
    }
    for name, (old, new) in cards.items():
        yield mutant(f"card/{name}", "card", "model.card.toml", CARD.replace(old, new, 1).encode())
    criteria = {
        "limit-nan": ("{ max = 0.05 }", "{ max = nan }"),
        "limit-empty": ("{ max = 0.05 }", "{}"),
        "limit-of-words": ("{ max = 0.05 }", '"small"'),
        "limit-reversed": ("{ max = 0.05 }", "{ max = 0.0, min = 1.0 }"),
        "alpha-2": ("alpha = 0.05", "alpha = 2.0"),
        "alpha-nan": ("alpha = 0.05", "alpha = nan"),
        "alpha-enormous": ("alpha = 0.05", "alpha = 1" + "0" * 400),
        "unknown-key": ('id = "AC-01"', 'id = "AC-01"\ncolour = 1'),
        "no-measurement": ('measurement = "PAT-001.removal_rate"\n', ""),
        "judged-on-unknown": ('"upper"', '"sideways"'),
        "criterion-is-a-table": ("[[criterion]]", "[criterion]"),
        "multiplicity-unknown": ('"none"', '"magic"'),
        "protocol-is-a-number": ('{ id = "VP-1", revision = "A", title = "A protocol" }', "7"),
    }
    for name, (old, new) in criteria.items():
        yield mutant(f"criteria/{name}", "criteria", "criteria.toml", CRITERIA.replace(old, new, 1).encode())
    twice = CRITERIA + CRITERIA[CRITERIA.index("[[criterion]]") :]
    yield mutant("criteria/id-twice", "criteria", "criteria.toml", twice.encode())


def json_mutants(format_: str, kind: Kind, cell: str, seed: bytes) -> Iterator[Mutant]:
    """A JSON file of ours that is broken; every text of it is given by its digest or its schema."""
    for one in generic(format_, kind, cell, seed, flips=8):
        yield one if one.name.rpartition("/")[2] != "truncated-last" else one._replace(refused=False)
    content = json.loads(seed)
    made = {
        "list": b"[]",
        "text": b'"lock"',
        "null": b"null",
        "nan": b"NaN",
        "no-text": bytes(range(256)),
        "deep": b"[" * 200_000 + b"]" * 200_000,
        "deep-inside": seed.rstrip()[:-1] + b', "deep": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        "long-integer": seed.rstrip()[:-1] + b', "number": ' + b"9" * 100_000 + b"}",
        "unknown-schema": json.dumps({**content, "schema": "medgan-qa/other/1"}).encode(),
        "schema-is-a-list": json.dumps({**content, "schema": [1]}).encode(),
        "no-schema": json.dumps({k: v for k, v in content.items() if k != "schema"}).encode(),
        "unknown-key": json.dumps({**content, "surprise": 1}).encode(),
        "half-surrogate": json.dumps({**content, "tool": "\ud800"}).encode(),
    }
    for name, text in made.items():
        yield mutant(f"{format_}/{name}", kind, cell, text)
    yield mutant(f"{format_}/utf-16", kind, cell, seed.decode().encode("utf-16"), False)
    for key in list(content):
        if key != "schema":
            yield mutant(f"{format_}/{key}-is-a-number", kind, cell, json.dumps({**content, key: 7.5}).encode())
