"""Keyed pseudonyms: what stands in an output where a dataset's table holds something that names a person.

A pseudonym is the start of HMAC-SHA256 over the kind and the text, with a random key that lies in the user's key
folder (`pseudonyms.key`, readable by its owner alone). Without the key nobody can go back, or try names until one fits;
with it one text has one pseudonym in every dataset and every run.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medgan_qa.errors import ConfigurationError
from medgan_qa.key_folder import keys_folder, store

if TYPE_CHECKING:
    from medgan_qa.cohorts.cohort import Case

KEY_FILE = "pseudonyms.key"
"""In the key folder: 32 random bytes in hexadecimal, made on first use."""
KINDS = {"case": "C", "patient": "P", "study": "S", "volume": "V", "file": "F", "site": "I"}
"""What can be replaced, and the letter that its pseudonyms begin with."""

_LENGTHS = (8, 16, 32, 64)  # hexadecimal digits: the first that tells apart all that one dataset holds
_SHORTEST = 4  # characters; a shorter text would be found inside words when a message is scrubbed

_PLAIN = frozenset(
    """
    adc anat annotation axial bad baseline bold bone brain broken case cases cbct chest control copy coronal corrupt
    data dce defaced derivatives dicom diff dwi empty fake fat file flair fmri followup frame gone gre half hand head
    heart image images img inv kidney label labels lesion lesions liver lung mask masks mip missing mprage mri nan nifti
    other out output page pair patient pelvis pet phantom pixel post pre preop prostate quick raw real ref reference
    register rest run sag sagittal sample scan seg segmentation series ses session set site slice source spect spine
    stack std strange sub subject swi synthetic target test tiny tra train translated truncated tumor tumour twi val vol
    volume weighted whole wrong xray
    """.split()  # noqa: SIM905  # a list of words reads as one
)
"""Words of three and more letters that a file's name may hold and be printed."""

_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_DIRECT = re.compile(
    "|".join(
        (
            r"[\^,\s@/\\]",  # Doe^John, "Doe, John", an e-mail address, a path
            r"\A\W*\d(?:[\d.:_-]*\d){5,}\W*\Z",  # a bare number, with or without separators: 1234567, 123-45-6789
            rf"(?<!\d){_DATE}(?!\d)",  # 20240131, wherever it stands
            r"(?<!\d)(?:19|20)\d\d[-_.](?:0?[1-9]|1[0-2])[-_.](?:0?[1-9]|[12]\d|3[01])(?!\d)",  # 2024-01-31
            r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])[-_.](?:0?[1-9]|[12]\d|3[01])[-_.](?:19|20)\d\d(?!\d)",  # 31.01.2024
            r"(?<![\d.])[0-2](?:\.\d+){4,}",  # a DICOM UID
            r"\A(?:mrn|pid|ssn|nhs|acc)[-_#:]?\d{4,}",  # a number that says itself what it is
        )
    ),
    re.IGNORECASE,
)


def looks_direct(text: str) -> bool:
    """Whether an identifier looks as if it came from a patient or a device rather than from a list of codes.

    True for names (with a caret, comma or blank), e-mail addresses, paths, dates, DICOM UIDs, bare numbers of six and
    more digits, and numbers that say what they are (`MRN1234567`). A name that is one word looks like a code.
    """
    return _DIRECT.search(text) is not None


def names_nobody(stem: str) -> bool:
    """Whether the name of a file, without its ending, is made of numbers, short letters and plain words of imaging.

    Stricter than `looks_direct`: a file is often named after a patient, and `jane_doe_t1` looks like a code.
    """
    words = re.findall(r"[^\W\d_]+", stem)
    plain = all(len(word) <= 2 or word.lower() in _PLAIN for word in words)
    return bool(stem) and plain and not looks_direct(stem) and re.search(r"\d{6}", stem) is None


def pseudonym_key() -> bytes:
    """The key of this user's pseudonyms, made on first use.

    Raises:
        ConfigurationError: the file is there and holds no key.
        OutputError: a new key cannot be written.
    """
    place = keys_folder() / KEY_FILE
    if not place.exists():
        store(place, f"{secrets.token_hex(32)}\n".encode())
    return _read(place)


def _read(place: Path) -> bytes:
    try:
        text = place.read_text("ascii").strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise _no_key(place, type(error).__name__) from error
    if len(key) < 32:
        raise _no_key(place, f"{len(key)} bytes")
    return key


def _no_key(place: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        "The key of the pseudonyms cannot be used.",
        expected="32 bytes in hexadecimal, one line",
        found=found,
        where=place,
        todo="Put back the key that earlier runs were made with; without it their pseudonyms mean nothing.",
    )


def _hex(key: bytes, kind: str, text: str) -> str:
    message = f"{kind}\0{text}".encode("utf-8", "surrogateescape")
    return hmac.new(key, message, "sha256").hexdigest()


class Pseudonyms:
    """The pseudonyms of one dataset: no two of its texts of a kind have the same.

    Args:
        texts: all that may be replaced, by kind. Where two would get the same eight digits both get longer ones,
            whatever their order; `of` accepts others too, and tells them apart in the order in which they come.
        key: another key than the user's own.

    Raises:
        ValueError: there is no such kind.
    """

    def __init__(self, texts: Mapping[str, Iterable[str]] | None = None, *, key: bytes | None = None) -> None:
        self._key = key
        self._given: dict[tuple[str, str], str] = {}
        self._texts: dict[str, tuple[str, str]] = {}
        for kind, some in (texts or {}).items():
            self._assign(kind, sorted(set(some)))

    def of(self, kind: str, text: str) -> str:
        """The pseudonym of a text, e.g. `P-7f3a91c2`.

        Args:
            kind: a key of `KINDS`.
            text: what it stands for.

        Raises:
            ValueError: there is no such kind.
            ConfigurationError, OutputError: as `pseudonym_key`.
        """
        if (kind, text) not in self._given:
            digits = self._digits(kind, text)
            names = (f"{_letter(kind)}-{digits[:length]}" for length in _LENGTHS)
            self._give(kind, text, next(name for name in names if name not in self._texts))
        return self._given[kind, text]

    def shown(self, kind: str, text: str, identifiers: str | None) -> str:
        """What an output shows in place of a text.

        Args:
            kind: a key of `KINDS`.
            text: the identifier, or the path of a file as the table gives it.
            identifiers: what the dataset file says: `direct` (everything is replaced), `codes` (nothing), or None:
                every path is, and every identifier that `looks_direct`.
        """
        replaced = identifiers == "direct" or (identifiers is None and (kind == "file" or looks_direct(text)))
        return self.of(kind, text) if replaced else text

    def original(self, pseudonym: str) -> tuple[str, str] | None:
        """Kind and text that a pseudonym of this dataset stands for; None where it is none of them."""
        return self._texts.get(pseudonym)

    def scrub(self, message: str) -> str:
        """A message with every text that was replaced so far replaced in it too, the longest first."""
        for (_, text), name in sorted(self._given.items(), key=lambda item: -len(item[0][1])):
            if len(text) >= _SHORTEST:
                message = message.replace(text, name)
        return message

    def _assign(self, kind: str, texts: Sequence[str]) -> None:
        left = {text: self._digits(kind, text) for text in texts}
        for length in _LENGTHS:
            names = {text: f"{_letter(kind)}-{digits[:length]}" for text, digits in left.items()}
            times = Counter([*names.values(), *texts])
            for text, name in names.items():
                if times[name] == 1:
                    self._give(kind, text, name)
                    del left[text]

    def _give(self, kind: str, text: str, name: str) -> None:
        self._given[kind, text] = name
        self._texts[name] = kind, text

    def _digits(self, kind: str, text: str) -> str:
        if self._key is None:
            self._key = pseudonym_key()
        return _hex(self._key, kind, text)


def _letter(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; kinds are {', '.join(KINDS)}")
    return KINDS[kind]


def protected(cases: Sequence[Case], identifiers: str | None) -> list[Case]:
    """Cases as every output may show them.

    Cases, patients, studies and volumes are replaced as `Pseudonyms.shown` says. A slice that is named after its volume
    (`ROW/017`) keeps its number behind the volume's new name.

    Args:
        cases: of one dataset.
        identifiers: the dataset file's `identifiers`: `direct`, `codes` or None.

    Returns:
        The cases in the same order.

    Raises:
        ConfigurationError, OutputError: as `pseudonym_key`; the key is read only where something is replaced.
    """
    if identifiers == "codes":
        return list(cases)
    names = Pseudonyms({kind: _replaced(texts, identifiers) for kind, texts in _identifiers(cases).items()})
    return [_protected(case, names, identifiers) for case in cases]


def _identifiers(cases: Sequence[Case]) -> dict[str, set[str]]:
    return {
        "case": {case.case_id for case in cases if _place(case) is None},
        "patient": {case.patient_id for case in cases},
        "study": {case.study for case in cases if case.study is not None},
        "volume": {case.volume for case in cases if case.volume is not None},
    }


def _replaced(texts: Iterable[str], identifiers: str | None) -> list[str]:
    return [text for text in texts if identifiers == "direct" or looks_direct(text)]


def _protected(case: Case, names: Pseudonyms, identifiers: str | None) -> Case:
    place = _place(case)
    volume = None if case.volume is None else names.shown("volume", case.volume, identifiers)
    return replace(
        case,
        case_id=names.shown("case", case.case_id, identifiers) if place is None else f"{volume}{place}",
        patient_id=names.shown("patient", case.patient_id, identifiers),
        study=None if case.study is None else names.shown("study", case.study, identifiers),
        volume=volume,
    )


def _place(case: Case) -> str | None:
    """What stands behind the volume's name in the identifier of a slice that is named after it."""
    if case.volume is None or not case.case_id.startswith(f"{case.volume}/"):
        return None
    return case.case_id.removeprefix(case.volume)
