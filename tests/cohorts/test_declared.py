"""Tables and keys of the dataset file beside the range: volumes, independence, identifiers, exclusion."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from medgan_qa.cohorts.declared import Independence, Volumes
from medgan_qa.cohorts.description import Description, read_description
from medgan_qa.errors import DatasetError
from medgan_qa.evidence.formats import schema

HEAD = 'schema = "medgan-qa/dataset/1"\nname = "x"\ncases = "cases.csv"\nvalue_range = [0, 1]\n'


def described(folder: Path, text: str) -> Description:
    path = folder / "dataset.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return read_description(path)


def findings(folder: Path, text: str) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        described(folder, text)
    assert caught.value.found is not None
    return [line.strip() for line in caught.value.found.splitlines()[1:]]


def test_everything_is_optional(tmp_path: Path) -> None:
    found = described(tmp_path, "")
    assert (found.volumes, found.independence, found.exclude_unreadable) == (None, None, None)
    assert (found.identifiers, found.augmentation) == (None, None)


def test_everything_that_is_given_is_there(tmp_path: Path) -> None:
    text = """
exclude_unreadable = 0.05
identifiers = "codes"
augmentation = "none"
[volumes]
plane = "coronal"
every = 3
within = [0.25, 0.75]
[independence]
patients = true
scanners = true
test_acquired_after = "2025-01"
sequestered_since = 2026-01-01
earlier_uses = 0
"""
    found = described(tmp_path, text)
    assert found.volumes == Volumes("coronal", 3, (0.25, 0.75))
    assert (found.exclude_unreadable, found.identifiers, found.augmentation) == (0.05, "codes", "none")
    assert found.independence == Independence(
        patients=True,
        scanners=True,
        test_acquired_after="2025-01",
        sequestered_since="2026-01-01",
        earlier_uses=0,
    )
    assert found.content["independence"]["sequestered_since"] == "2026-01-01"


def test_an_empty_table_means_its_defaults(tmp_path: Path) -> None:
    found = described(tmp_path, "[volumes]\n[independence]\n")
    assert found.volumes == Volumes("axial", 1, (0.0, 1.0))
    assert found.independence == Independence()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exclude_unreadable = 1", "exclude_unreadable: expected a share of at least 0 and less than 1, found 1"),
        ("exclude_unreadable = true", "exclude_unreadable: expected a share of at least 0 and less than 1, found true"),
        ('identifiers = "names"', 'identifiers: expected "direct" or "codes", found "names"'),
        ("augmentation = false", 'augmentation: expected "none", found false'),
        ('volumes = "axial"', 'volumes: expected a table [volumes], found "axial"'),
        ('[volumes]\nplan = "axial"', "volumes: unknown key 'plan'; did you mean 'plane'?"),
        ('[volumes]\nplane = "Axial"', 'volumes.plane: expected "axial" or "coronal" or "sagittal", found "Axial"'),
        ("[volumes]\nevery = 0", "volumes.every: expected a whole number of at least 1, found 0"),
        ("[volumes]\nevery = 1.0", "volumes.every: expected a whole number of at least 1, found 1.0"),
        ("[volumes]\nwithin = [0.5, 0.5]", "volumes.within: expected [from, to], two shares with 0 <= from < to <= 1"),
        ("[volumes]\nwithin = [0.5, 1.5]", "volumes.within: expected [from, to], two shares with 0 <= from < to <= 1"),
        ("[independence]\nsite = true", "independence: unknown key 'site'; did you mean 'sites'?"),
        ('[independence]\nsites = "yes"', 'independence.sites: expected true or false, found "yes"'),
        ('[independence]\nsequestered_since = "1.1.2026"', "independence.sequestered_since: expected a date as YYYY"),
        ('[independence]\ntest_acquired_after = "2025-13"', "independence.test_acquired_after: expected a date"),
        ("[independence]\nearlier_uses = -1", "independence.earlier_uses: expected a whole number of at least 0"),
        ('[independence]\nearlier_uses = "none"', "independence.earlier_uses: expected a whole number of at least 0"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, message: str) -> None:
    (found,) = findings(tmp_path, text)
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("exclude_unreadable = 0", True),
        ("exclude_unreadable = 1", False),
        ('identifiers = "names"', False),
        ("augmentation = false", False),
        ("[volumes]", True),
        ('[volumes]\nplane = "coronal"\nevery = 2\nwithin = [0, 0.5]', True),
        ('[volumes]\nplan = "axial"', False),
        ("[volumes]\nevery = 0", False),
        ("[volumes]\nwithin = [0.5, 1.5]", False),
        ('[independence]\npatients = true\ntest_acquired_after = "2025-01"', True),
        ("[independence]\nsites = 1", False),
        ('[independence]\nsequestered_since = "1.1.2026"', False),
        ("[independence]\nearlier_uses = -1", False),
    ],
)
def test_reader_and_published_schema_agree(tmp_path: Path, text: str, valid: bool) -> None:
    content = tomllib.loads(HEAD + text)
    assert Draft202012Validator(schema("dataset")).is_valid(content) is valid
    if valid:
        described(tmp_path, text)
    else:
        assert findings(tmp_path, text)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = 'identifiers = 3\n[volumes]\nevery = 0\nplane = "up"\n[independence]\ndates = 1\n'
    assert len(findings(tmp_path, text)) == 4


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "#" * 2**20])
def test_hostile_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        described(tmp_path, text)


@given(slices=st.integers(1, 400), every=st.integers(1, 50), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_prop_taken_slices_lie_in_the_part_and_are_evenly_apart(
    slices: int, every: int, ends: tuple[float, float]
) -> None:
    low, high = sorted(ends)
    if high - low < 1e-6:
        return
    taken = Volumes("axial", every, (low, high)).taken(slices)
    assert 1 <= len(taken) <= slices
    assert 0 <= taken[0] <= taken[-1] < slices
    assert set(range(taken[0], taken[-1] + 1, every)) == set(taken)
    inside = [k for k in range(slices) if low <= (k + 0.5) / slices <= high]
    if inside:
        assert taken[0] in (inside[0], inside[0] + 1, inside[0] - 1)
        assert set(taken) <= set(range(inside[0] - 1, inside[-1] + 2))
    else:
        assert len(taken) == 1


def test_all_slices_are_taken_by_default() -> None:
    assert list(Volumes().taken(5)) == [0, 1, 2, 3, 4]
    assert list(Volumes(every=2).taken(5)) == [0, 2, 4]
    assert list(Volumes(within=(0.2, 0.8)).taken(5)) == [1, 2, 3]
    assert list(Volumes(within=(0.49, 0.51)).taken(4)) == [2]
