"""HYG-003: generated images in the test partition."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from medgan_qa.audits._same_images import FEWEST_PATIENTS, PartitionedRun, Rule, calibrated, change
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, pairs
from medgan_qa.audits.numbers import count, rate
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.dataset import FileCohort
from medgan_qa.cohorts.table import read_cases
from medgan_qa.criteria import Estimate
from medgan_qa.errors import InputError
from medgan_qa.metrics.duplicates import exact_duplicates
from medgan_qa.metrics.near_copies import ClosePairs, as_query, near_copies, prepared

CODE = "HYG-003"
UNSEEN = (
    "A generated image that is not declared, not on the list and not near one of the images that this model made in "
    "this run is not found: the output of another model looks like a real image here."
)


@runtime_checkable
class Sampling(Protocol):
    """A run that holds images drawn from the model."""

    @property
    def sampled(self) -> Pictures:
        """What the model made."""


class Outputs(NamedTuple):
    """Test images that are outputs of the model."""

    close: ClosePairs
    """Pairs of a test image and the sample that it is; one row a test image."""
    threshold: float
    samples: Pictures
    searched: list[int]
    """Which samples were searched: those that are finite."""


def generated_images(
    run: PartitionedRun,
    *,
    declared: str = "",
    false_alarm: float = 0.05,
    duplicate: float = 0.02,
    worst: int = 8,
) -> Findings:
    """Generated images inside the test partition.

    Question. Is every image of the test partition acquired, or are some of them generated?

    What it measures. Test images that the dataset declares as synthetic (column `synthetic`; embedded phantoms are not
    charged), test images whose SHA-256 stands on a list of generated images (the parameter `declared`: a text file, one
    digest a line, of the image file's bytes or of the image as it is read, float32 (C, H, W) in unit range), and test
    images that are, or nearly are, images that the model under audit made in this run, under the changes that HYG-001
    undoes. Each image counts once.

    Why it matters. A generated image in the test partition is an answer of the model to itself: it makes a generator
    look faithful and a classifier look general, and it stands for no patient. Generated images are for training alone
    where they are used at all.

    Known limits. A generated image of another model, or another image of this one, that is neither declared nor listed
    is not found; no detector of generated images is run, as none is known to hold for models it was not trained on. A
    sample near a test image can also mean that the model was trained on that image; either way the test partition is
    not independent of the model. The list names files as they were when it was made: an image stored in another format
    or cropped has another digest.

    Method and source. Digests: SHA-256 (FIPS 180-4). Near outputs: the search and the score of HYG-001 between test
    images and samples; the limit is the log-normal tail of the scores of all test images against the samples.
    """
    findings = Findings()
    test = run.reference
    synthetic = set() if run.cohort.phantom else {i for i, case in enumerate(test.cases) if case.synthetic}
    digests = _listed(declared)
    listed = _on_list(run, digests) if digests is not None else set()
    outputs = _outputs(test, run.sampled, Rule(false_alarm, duplicate)) if isinstance(run, Sampling) else None
    near = set() if outputs is None or isinstance(outputs, str) else set(outputs.close.query.tolist())
    found = synthetic | listed | near
    findings.estimates = [
        _count("generated_images", "Test images that are generated, by any of these", len(found), len(test)),
        rate(
            f"{CODE}.generated_rate",
            "Share of test images that are generated",
            [i in found for i in range(len(test))],
            test.patients,
            unit_of_analysis="test image",
            units=test.names,
        ),
        _count("declared_images", "Test images that are declared as synthetic", len(synthetic), len(test)),
    ]
    findings.notes = _said(run, digests, outputs)
    if digests is not None:
        findings.estimates.append(
            _count("listed_images", "Test images on the list of generated ones", len(listed), len(test))
        )
    if isinstance(outputs, Outputs):
        findings.estimates.append(
            _count("near_outputs", "Test images that are outputs of the model", len(near), len(test))
        )
        _show(findings, test, outputs, worst)
    findings.rows = [_row(test, i, synthetic, listed, outputs) for i in sorted(found)]
    return findings


def pixel_digest(image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    """SHA-256 of an image (C, H, W) as it is read: little-endian float32 in unit range, row by row."""
    return hashlib.sha256(np.ascontiguousarray(image, dtype="<f4").tobytes()).hexdigest()


def _count(name: str, label: str, value: int, n: int) -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis="test image", better="lower")


def _listed(declared: str) -> frozenset[str] | None:
    """Digests on the list, in lower case; None where none was given.

    Raises:
        InputError: the list cannot be read, or a line does not begin with a digest.
    """
    if not declared:
        return None
    try:
        lines = Path(declared).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(declared, f"{type(error).__name__}: {error}") from error
    words = [
        (number, line.split()[0].lower()) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"
    ]
    for number, word in words:
        if len(word) != 64 or set(word) - set("0123456789abcdef"):
            raise _unusable(declared, f"{word[:80]!r} in line {number}")
    return frozenset(word for _, word in words)


def _unusable(declared: str, found: str) -> InputError:
    return InputError(
        "The list of generated images cannot be used.",
        expected="a text file whose lines begin with a SHA-256, as sha256sum writes it",
        found=found,
        where=declared,
        todo="Correct the file, or declared in [parameters.HYG-003] of the criteria, relative to the working folder.",
    )


def _on_list(run: PartitionedRun, digests: frozenset[str]) -> set[int]:
    """Test images whose file or pixels are on the list."""
    files = _file_digests(run.cohort)
    test = run.reference
    return {
        i
        for i, case in enumerate(test.cases)
        if files.get(case.case_id) in digests or pixel_digest(test.images[i]) in digests
    }


def _file_digests(cohort: Cohort) -> dict[str, str]:
    """SHA-256 of every case's image file; empty for images that are drawn."""
    if not isinstance(cohort, FileCohort):
        return {}
    files = cohort.inventory().files
    cases, rows = read_cases(cohort.description.table)
    return {case.case_id: files[row.cells["image"]] for case, row in zip(cases, rows, strict=True)}


def _outputs(test: Pictures, samples: Pictures, rule: Rule) -> Outputs | str:
    """Test images that are samples; a text where that cannot be told."""
    if samples.images.shape[1:] != test.images.shape[1:]:
        return "The model's images have another shape than the test images, so they are not compared."
    finite = np.flatnonzero(np.isfinite(samples.images).all(axis=(1, 2, 3)))
    if len(set(test.patients)) < FEWEST_PATIENTS or len(finite) < FEWEST_PATIENTS:
        return f"{FEWEST_PATIENTS} test patients and as many samples are needed to know how near samples come."
    drawn = [f"sample {i}" for i in finite]
    close = near_copies(
        prepared(test.grey), prepared(samples.grey[finite]), [f"patient {p}" for p in test.patients], drawn
    )
    equal = exact_duplicates(np.concatenate([samples.images[finite], test.images]))
    exact = np.isin(equal[len(finite) :], equal[: len(finite)])
    made = calibrated(close.residual, close.score, rule, len(test), len(set(test.patients)))
    if isinstance(made, str):
        threshold, flagged = 0.0, close.residual < rule.duplicate
    else:
        threshold, flagged = made[0].threshold, close.score < made[0].threshold
    return Outputs(close.where(flagged | exact[close.query]), threshold, samples, finite.tolist())


def _said(run: PartitionedRun, digests: frozenset[str] | None, outputs: Outputs | str | None) -> list[str]:
    said = [UNSEEN]
    if run.cohort.phantom:
        said.append("The images are embedded phantoms: that they are drawn is not charged.")
    said.append(
        "No list of generated images was given." if digests is None else f"{len(digests)} digests are on the list."
    )
    if outputs is None:
        said.append("The run draws no images from a model, so test images are not compared with its outputs.")
    elif isinstance(outputs, str):
        said.append(outputs)
    else:
        said.append(
            f"Test images are compared with {len(outputs.searched)} images that the model made; they are its outputs "
            f"where their score is below {outputs.threshold:.3f}."
        )
    return said


def _row(test: Pictures, i: int, synthetic: set[int], listed: set[int], outputs: Outputs | str | None) -> Row:
    why = ["declared"] * (i in synthetic) + ["listed"] * (i in listed)
    row: Row = {"case_id": test.names[i], "patient_id": test.patients[i]}
    at = _place(outputs, i)
    if at is None or not isinstance(outputs, Outputs):
        return {**row, "generated": ", ".join(why), "sample": None, "change": "", "residual": None}
    return {
        **row,
        "generated": ", ".join([*why, "output of the model"]),
        "sample": outputs.samples.names[outputs.searched[int(outputs.close.reference[at])]],
        "change": change(outputs.close, at, True),
        "residual": round(float(outputs.close.residual[at]), 4),
    }


def _place(outputs: Outputs | str | None, i: int) -> int | None:
    """Where a test image stands among the pairs."""
    if not isinstance(outputs, Outputs):
        return None
    found = np.flatnonzero(outputs.close.query == i)
    return int(found[0]) if found.size else None


def _show(findings: Findings, test: Pictures, outputs: Outputs, worst: int) -> None:
    close = outputs.close
    shown = []
    for at in np.argsort(close.residual, kind="stable")[:worst].tolist():
        sample = outputs.searched[int(close.reference[at])]
        image = as_query(outputs.samples.grey[sample], close, at)
        i, made = int(close.query[at]), outputs.samples.names[sample]
        label = f"{change(close, at, True)}, of {made}, residual {close.residual[at]:.3f}"
        shown.append(Pair(test.grey[i], image, test.names[i], test.patients[i], label, "worst"))
    pairs(
        findings,
        f"{CODE}-pairs",
        "Test images that are outputs of the model",
        f"{len(shown)} of {len(close)} test images that the model made, the most alike first. The sample is shown "
        "after the change that gives the test image.",
        shown,
        ("test image", "sample, same change"),
    )
