"""Pseudonyms: stable, one to one, useless without the key, and given to what looks like a person."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts import pseudonyms
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.pseudonyms import KEY_FILE, Pseudonyms, looks_direct, protected, pseudonym_key
from medgan_qa.errors import ConfigurationError, OutputError

KEY = bytes(range(32))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


def a_case(case_id: str = "c1", patient_id: str = "p1", volume: str | None = None, study: str | None = None) -> Case:
    case = Case(case_id, patient_id, "test", has_target=False, annotated=False, has_mask=False)
    return replace(case, volume=volume, study=study)


@pytest.mark.parametrize(
    "text",
    [
        "DOE^JOHN",
        "Doe, John",
        "John Doe",
        "1234567",
        "000123",
        "123-45-6789",
        "scan_20240131_a",
        "2024-01-31",
        "31.01.2024",
        "john@example.org",
        "/data/doe/1.dcm",
        "doe\\1.dcm",
        "1.2.840.113619.2.55.3.604688119",
        "MRN12345678",
        "mrn-0815",
    ],
)
def test_what_looks_direct(text: str) -> None:
    assert looks_direct(text)


@pytest.mark.parametrize(
    "text", ["p1", "sub-01", "P-7f3a91c2", "case_00017", "s001-t2", "12345", "site-A.slice-17", "v1.2.3", "99999999x"]
)
def test_what_looks_like_a_code(text: str) -> None:
    assert not looks_direct(text)


def test_the_key_is_made_once_and_for_its_owner_alone(folder: Path) -> None:
    key = pseudonym_key()
    assert len(key) == 32
    assert pseudonym_key() == key
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", ["", "no hexadecimal", "ab" * 31])
def test_a_damaged_key_is_refused_and_kept(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / KEY_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match="pseudonyms"):
        Pseudonyms().of("patient", "DOE^JOHN")
    assert (folder / KEY_FILE).read_text() == content


def test_no_key_is_made_where_nothing_is_replaced(folder: Path) -> None:
    cases = [a_case()]
    assert protected(cases, "codes") == cases
    assert protected(cases, None) == cases
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "file" / "keys"))
    with pytest.raises(OutputError, match="key"):
        protected([a_case(patient_id="DOE^JOHN")], None)


def test_prefix_and_length() -> None:
    names = Pseudonyms(key=KEY)
    assert [names.of(kind, "x")[:2] for kind in pseudonyms.KINDS] == ["C-", "P-", "S-", "V-", "F-", "I-"]
    assert len(names.of("patient", "x")) == 10
    assert not looks_direct(names.of("patient", "x"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind"):
        Pseudonyms(key=KEY).of("person", "x")


def test_another_key_gives_other_pseudonyms() -> None:
    assert Pseudonyms(key=KEY).of("patient", "x") != Pseudonyms(key=KEY[::-1]).of("patient", "x")


def test_a_file_name_that_is_no_text_has_a_pseudonym() -> None:
    assert Pseudonyms(key=KEY).of("file", b"\xff.dcm".decode("utf-8", "surrogateescape"))


@given(st.lists(st.text(), unique=True, max_size=30), st.randoms())
def test_prop_one_to_one_back_again_and_whatever_the_order(texts: list[str], random: object) -> None:
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    names, others = Pseudonyms({"patient": texts}, key=KEY), Pseudonyms({"patient": shuffled}, key=KEY)
    given_names = [names.of("patient", text) for text in texts]
    assert len(set(given_names)) == len(texts)
    assert given_names == [others.of("patient", text) for text in texts]
    assert [names.original(name) for name in given_names] == [("patient", text) for text in texts]


@given(st.lists(st.text(), unique=True, min_size=2, max_size=40))
def test_prop_collisions_are_told_apart(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # One digit instead of eight: from 17 texts on some must collide.
        patch.setattr(pseudonyms, "_LENGTHS", (1, 16))
        names, others = Pseudonyms({"case": texts}, key=KEY), Pseudonyms({"case": reversed(texts)}, key=KEY)
        given_names = [names.of("case", text) for text in texts]
        assert len(set(given_names)) == len(texts)
        assert given_names == [others.of("case", text) for text in texts]
        one_by_one = Pseudonyms(key=KEY)
        assert len({one_by_one.of("case", text) for text in texts}) == len(texts)


def test_direct_replaces_everything_and_codes_nothing(folder: Path) -> None:
    cases = [a_case("c1", "p1", study="s1"), a_case("c2", "p1", volume="v1")]
    first, second = protected(cases, "direct")
    assert {first.case_id, first.patient_id, first.study, second.volume}.isdisjoint({"c1", "c2", "p1", "s1", "v1"})
    assert first.patient_id == second.patient_id
    assert protected(cases, "codes") == cases


def test_by_default_only_what_looks_direct_is_replaced(folder: Path) -> None:
    [case] = protected([a_case("c1", "DOE^JOHN", study="20240131")], None)
    assert case.case_id == "c1"
    assert case.patient_id.startswith("P-")
    assert str(case.study).startswith("S-")


def test_a_slice_keeps_its_number_behind_the_new_name_of_its_volume(folder: Path) -> None:
    cases = [a_case(f"Doe, John/{number:03d}", volume="Doe, John") for number in (1, 2)]
    first, second = protected(cases, None)
    assert (first.case_id, second.case_id) == (f"{first.volume}/001", f"{first.volume}/002")
    assert str(first.volume).startswith("V-")
    assert protected([a_case("row/001", volume="row")], None)[0].case_id == "row/001"


def test_paths_are_replaced_unless_they_are_said_to_be_codes(folder: Path) -> None:
    names = Pseudonyms()
    assert names.shown("file", "images/a.png", None) == names.shown("file", "images/a.png", "direct")
    assert names.shown("file", "images/a.png", "codes") == "images/a.png"


def test_a_message_is_scrubbed_of_what_was_replaced() -> None:
    names = Pseudonyms(key=KEY)
    short, long = names.of("patient", "DOE^J"), names.of("file", "DOE^JOHN/1.dcm")
    names.of("case", "1")
    assert names.scrub("1 bad value in DOE^JOHN/1.dcm of DOE^J") == f"1 bad value in {long} of {short}"
