"""HYG-003: generated images in the test partition, and train-only images there."""

from __future__ import annotations

from dataclasses import dataclass, field

from medgan_qa.audits._digest_lists import listed, on_lists, pixel_digest
from medgan_qa.audits._fingerprints import Traced, traced_outputs
from medgan_qa.audits._generated_exhibits import show_near, show_traced
from medgan_qa.audits._model_outputs import Made, Near, equal_outputs, made, near_outputs
from medgan_qa.audits._partitions import PartitionedRun, RealImages, partition, streamed
from medgan_qa.audits._partitions import pixel_digest as digest_of
from medgan_qa.audits._same_images import Rule, change
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import count, rate
from medgan_qa.cohorts.cohort import Case, subset
from medgan_qa.criteria import Estimate

CODE = "HYG-003"
UNSEEN = (
    "A generated image that is not declared, not on the list, not near one of the images that this model made in this "
    "run and without its fingerprint is not found: the output of another model looks like a real image here."
)

__all__ = ["generated_images", "pixel_digest"]


@dataclass(eq=False)
class Generated:
    """Test cases by what says that they are generated, or for training alone."""

    declared: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    train_only: set[str] = field(default_factory=set)
    near: dict[str, int | None] = field(default_factory=dict)
    """With the place of the pair; None where the output is equal and no pair was searched."""
    translated: bool = False
    """The outputs are translations of the test images: a faithful one is all but its target."""
    traced: dict[str, float] = field(default_factory=dict)
    """With the score of the fingerprint; alone it is no proof, so it is counted apart."""

    @property
    def charged(self) -> set[str]:
        """All but those that have only a fingerprint against them, or a translation that came out like its target."""
        certain = self.declared | self.listed | self.train_only
        return certain if self.translated else certain | set(self.near)


def generated_images(
    run: PartitionedRun,
    *,
    declared: str = "",
    train_only: str = "",
    false_alarm: float = 0.05,
    duplicate: float = 0.02,
    worst: int = 8,
) -> Findings:
    """Generated images inside the test partition.

    Question. Is every image of the test partition acquired and meant for testing, or are some of them generated or
    declared for training alone?

    What it measures. Test images that the dataset declares as synthetic (column `synthetic`; embedded phantoms are not
    charged); test images whose SHA-256 stands on a list of generated images (the parameter `declared`: a text file, one
    digest a line, of the image file's bytes or of the image as it is read, float32 (C, H, W) in unit range) or of
    train-only images (`train_only`), or that equal a train image declared synthetic; and test images that are, or
    nearly are, images that the model under audit made in this run, under the changes that HYG-001 undoes: its samples,
    or its outputs for the test inputs, held against images and paired targets. Each image counts once. Outputs of a
    translator are counted apart (`near_outputs`), for the target of a faithful one is all but its output. So are test
    images with the model's fingerprint in spectrum and noise are counted, with the share of the model's own
    outputs that are seen so.

    Why it matters. A generated image in the test partition is an answer of the model to itself: it makes a generator
    look faithful and a classifier look general, and it stands for no patient. Generated images are for training alone
    where they are used at all.

    Known limits. A generated image of another model that is neither declared nor listed is not found: no detector of
    generated images holds for models it was not fitted to. The fingerprint is that of this model as it is now, in the
    domain of its outputs; what it misses of this model's own outputs is printed as `fingerprint_recall`, and an image
    that was resampled, smoothed or compressed since is missed more often. It is evidence and no proof: a real image of
    another scanner or reconstruction may carry it, so it is counted apart. Outputs of a translator that are all but
    equal to the targets cannot be told from them. A sample near a test image can also mean that the model was trained
    on that image; either way the test partition is not independent of the model. A list names files as they were when
    it was made: an image stored in another format or cropped has another digest.

    Method and source. Digests: SHA-256 (FIPS 180-4). Near outputs: the search and the score of HYG-001; the limit is
    the log-normal tail of the scores of all test images against what the model made. Fingerprint: power in 64 parts of
    the frequency plane (Durall et al. 2020; Frank et al. 2020), autocorrelation of the noise residual (Marra et al.
    2019), a regularised linear discriminant (Friedman 1989) of outputs against real training images, or against the
    other half of the test patients where there are none, fitted to one half and read in the other; its limit is the
    normal prediction limit at which the chance of any false alarm is `false_alarm`.
    """
    findings = Findings()
    test = partition(run, "test")
    assert test is not None
    rule = Rule(false_alarm, duplicate)
    lists = {"declared": listed(declared, "declared"), "train_only": listed(train_only, "train_only")}
    outputs = made(run)
    near = near_outputs(run, outputs, rule) if isinstance(outputs, Made) else outputs
    traced = traced_outputs(run, outputs, false_alarm) if isinstance(outputs, Made) else outputs
    found = _found(run, test, lists, outputs, near, traced)
    findings.estimates = _estimates(test, found, lists, near, traced)
    findings.notes = _said(run, lists, outputs, near, traced)
    shown = found.charged | set(found.near) | set(found.traced)
    findings.rows = [_row(case, found, near) for case in test.cases if case.case_id in shown]
    if isinstance(near, Near) and isinstance(outputs, Made):
        show_near(findings, CODE, run, outputs, near, worst)
    if isinstance(traced, Traced):
        show_traced(findings, CODE, run, traced, isinstance(outputs, Made) and bool(outputs.targets))
    return findings


def _found(
    run: PartitionedRun,
    test: RealImages,
    lists: dict[str, frozenset[str] | None],
    outputs: Made | str | None,
    near: Near | str | None,
    traced: Traced | str | None,
) -> Generated:
    found = Generated(translated=isinstance(outputs, Made) and bool(outputs.targets))
    if not run.cohort.phantom:
        found.declared = {case.case_id for case in test.cases if case.synthetic}
        found.train_only = _of_train(run, test)
    on_list = on_lists(run, {name: digests for name, digests in lists.items() if digests is not None})
    found.listed = on_list.get("declared", set())
    found.train_only |= on_list.get("train_only", set())
    if isinstance(outputs, Made):
        samples = {name for name, digest in zip(test.names, test.digests, strict=True) if digest in outputs.digests}
        found.near = dict.fromkeys(sorted({*equal_outputs(run, outputs), *samples}))
    if isinstance(near, Near):
        found.near |= {case.case_id: k for k, case in enumerate(near.cases)}
    if isinstance(traced, Traced):
        found.traced = {traced.cases[k].case_id: float(traced.scores[k]) for k in traced.flagged}
    return found


def _estimates(
    test: RealImages,
    found: Generated,
    lists: dict[str, frozenset[str] | None],
    near: Near | str | None,
    traced: Traced | str | None,
) -> list[Estimate]:
    n = len(test)
    estimates = [
        _count("generated_images", "Test images that are generated or for training alone", len(found.charged), n),
        rate(
            f"{CODE}.generated_rate",
            "Share of test images that are generated or for training alone",
            [name in found.charged for name in test.names],
            test.patients,
            unit_of_analysis="test image",
            units=test.names,
        ),
        _count("declared_images", "Test images that are declared as synthetic", len(found.declared), n),
        _count("train_only_images", "Test images that are declared for training alone", len(found.train_only), n),
    ]
    if lists["declared"] is not None:
        estimates.append(_count("listed_images", "Test images on the list of generated ones", len(found.listed), n))
    if isinstance(near, Near) or found.near:
        estimates.append(_count("near_outputs", "Test images that are outputs of the model", len(found.near), n))
    if isinstance(traced, Traced):
        estimates += _of_traces(traced)
    return estimates


def _of_traces(traced: Traced) -> list[Estimate]:
    estimates = [
        _count(
            "fingerprinted_images",
            "Test images with the model's fingerprint",
            len(traced.flagged),
            len(traced.cases),
        ),
        rate(
            f"{CODE}.fingerprint_recall",
            "Share of the model's own outputs whose fingerprint is seen",
            traced.own,
            traced.units,
            unit_of_analysis="output",
            better="higher",
        ),
    ]
    if traced.train:
        estimates.append(
            rate(
                f"{CODE}.fingerprint_false_alarms",
                "Share of real training images that have the model's fingerprint",
                traced.train,
                traced.train_patients,
                unit_of_analysis="train image",
            )
        )
    return estimates


def _count(name: str, label: str, value: int, n: int) -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis="test image", better="lower")


def _of_train(run: PartitionedRun, test: RealImages) -> set[str]:
    """Test images that equal an image which stands in train as a synthetic one."""
    marked = [case for case in subset(run.cohort.cases, "train") if case.synthetic]
    held = streamed(run, marked, lambda case, images: digest_of(images.image), "Reading synthetic train images")
    return {name for name, digest in zip(test.names, test.digests, strict=True) if digest in set(held)}


def _said(
    run: PartitionedRun,
    lists: dict[str, frozenset[str] | None],
    outputs: Made | str | None,
    near: Near | str | None,
    traced: Traced | str | None,
) -> list[str]:
    said = [UNSEEN]
    if run.cohort.phantom:
        said.append("The images are embedded phantoms: that they are drawn is not charged.")
    for name, words in (("declared", "generated"), ("train_only", "train-only")):
        held = lists[name]
        said.append(
            f"No list of {words} images was given." if held is None else f"{len(held)} digests are on the list."
        )
    if outputs is None:
        said.append("The run draws no images from a model, so test images are not compared with its outputs.")
        return said
    said += dict.fromkeys(text for text in (near, traced) if isinstance(text, str))
    if isinstance(near, Near) and isinstance(outputs, Made):
        said.append(
            f"Test images are compared with {len(outputs.images)} images that the model made; they are its outputs "
            f"where their {'residual' if outputs.targets else 'score'} is below {near.threshold:.3f}, or, less white "
            "noise, below a limit of its own."
        )
        said += near.untold
    if isinstance(traced, Traced):
        said.append(_of_fingerprint(traced))
    return said


def _of_fingerprint(traced: Traced) -> str:
    return (
        f"The fingerprint was fitted to outputs and {traced.against}; each image is read by what was fitted to others. "
        f"{len(traced.flagged)} of {len(traced.cases)} test images lie beyond {traced.limit:.2f} standard deviations; "
        f"{sum(traced.own)} of {len(traced.own)} of the model's own outputs do, so that is what would be seen of one "
        "put into the test partition."
    )


def _row(case: Case, found: Generated, near: Near | str | None) -> Row:
    name = case.case_id
    why = [
        words
        for words, cases in (
            ("declared", found.declared),
            ("listed", found.listed),
            ("train only", found.train_only),
            ("output of the model", found.near),
            ("fingerprint of the model", found.traced),
        )
        if name in cases
    ]
    row: Row = {
        "case_id": name,
        "patient_id": case.patient_id,
        "generated": ", ".join(why),
        "role": "",
        "sample": None,
        "change": "",
        "residual": None,
        "fingerprint": round(found.traced[name], 2) if name in found.traced else None,
    }
    at = found.near.get(name)
    if at is not None and isinstance(near, Near):
        row["role"] = near.roles[at]
        row["sample"] = near.sources[at]
        row["change"] = change(near.pairs, at, True)
        row["residual"] = round(float(near.pairs.residual[at]), 4)
    return row
