"""UTL-003: what clinical experts said of the samples."""

from __future__ import annotations

from medgan_qa.audits.augmentation import AugmentationRun
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.numbers import ALPHA, count, identifier, rate
from medgan_qa.criteria import Estimate
from medgan_qa.criteria.expert_reading import ExpertReading, ReaderResult
from medgan_qa.record import Exhibit, Interval, Measurement
from medgan_qa.stats import clopper_pearson

CODE = "UTL-003"
NO_READING = (
    "That clinical experts validated the images is not shown: no expert reading was given. Have them read samples of "
    "this model, and give what they said with --experts FILE (docs/how-to/augmentation.md)."
)
REAL_IMAGES = "real images"
LOWEST = (
    "Clopper-Pearson (exact) of each reader over images; lower end of the lowest, upper end at a share of the error"
)


def expert_validation(run: AugmentationRun) -> Findings:
    """Expert validation.

    Question. Did clinical experts look at the samples, and would they use them?

    What it measures. Counts from a file that the readers filled in (--experts): how many read, how many different
    images they saw, and the share of samples that they accepted, overall and of each reader, with that of real images
    beside it where some were among them. The lowest accepted rate is that of the reader who accepted fewest. Where real
    images were shown, the detected rate is the share of samples that were called synthetic, beside the share of real
    images that were; it is reported and asks for nothing, as a sample may be told from a real image and be useful all
    the same. The file's digest, question, protocol, date and readers stand in the Record.

    Why it matters. To use a generative model for data augmentation is acceptable as far as clinical experts have
    validated that its images represent patients: a generator gets creative, and a scan with three kidneys may pass
    every measure. No measurement of this suite takes the place of a person who knows what the organ looks like.

    Known limits. The tool was not there: it checks that the counts can be true and that the reading is of this very
    model, not who read, what they saw, or how. The bound on one reader's rate is about further images for this reader;
    that over readers treats each as one draw from all readers, and is wide for the few that there usually are. Readers
    who know that images are synthetic, or who tire, judge otherwise; whether they were blinded is stated.

    Method and source. Bounds: Clopper and Pearson 1934; over readers on the effective sample size of Korn and Graubard
    1998, clustered by reader. The lowest rate: each reader's bound at the whole error rate is enough for the claim that
    all of them accept (intersection-union test, Berger 1982). Visual Turing test: Salimans et al. 2016.
    """
    findings = Findings()
    reading = run.experts
    if reading is None:
        findings.missing = NO_READING
        return findings
    if reading.model_sha256 != run.subject.sha256:
        findings.missing = (
            f"The expert reading {reading.file} is of another model: it names SHA-256 {reading.model_sha256[:12]}..., "
            f"and the model under audit has {run.subject.sha256[:12]}... Have samples of this model read."
        )
        return findings
    findings.estimates = _estimates(reading)
    findings.tables[f"exhibits/{CODE}-readers.csv"] = [_row(reading, result) for result in reading.results]
    findings.notes = _said(reading)
    findings.exhibits = [_table(reading), _forest(reading, findings.estimates)]
    return findings


def _estimates(reading: ExpertReading) -> list[Estimate]:
    results = reading.results
    seen = reading.synthetic + reading.real
    estimates = [
        count(
            f"{CODE}.readers",
            "Experts who read",
            len(results),
            n=len(results),
            unit_of_analysis="reader",
            better="higher",
        ),
        count(
            f"{CODE}.images_seen",
            "Different images that were shown",
            seen,
            n=seen,
            unit_of_analysis="image",
            better="none",
        ),
        _lowest(reading),
        _share(
            "accepted_rate", "Samples accepted, over all readers", [(r, r.accepted, r.synthetic_seen) for r in results]
        ),
        *(
            _share(
                "accepted_rate",
                f"Samples accepted by {r.reader}",
                [(r, r.accepted, r.synthetic_seen)],
                f"reader {r.reader}",
            )
            for r in results
        ),
        _share(
            "unrealistic_rate", "Samples called unrealistic", [(r, r.unrealistic, r.synthetic_seen) for r in results]
        ),
        _share(
            "label_wrong_rate",
            "Samples called wrongly labelled",
            [(r, r.label_wrong, r.synthetic_seen) for r in results],
        ),
    ]
    return [*estimates, *(_with_real(reading) if reading.real else [])]


def _with_real(reading: ExpertReading) -> list[Estimate]:
    def told(of: str) -> list[tuple[ReaderResult, int, int]]:
        return [
            (r, getattr(r, f"{of}_seen") - (getattr(r, f"{of}_called_real") or 0), getattr(r, f"{of}_seen"))
            for r in reading.results
        ]

    accepted = [(r, r.real_accepted or 0, r.real_seen) for r in reading.results]
    return [
        _share("accepted_rate", "Real images accepted, over all readers", accepted, REAL_IMAGES, better="none"),
        _share("detected_rate", "Samples called synthetic", told("synthetic"), better="none"),
        _share("detected_rate", "Real images called synthetic", told("real"), REAL_IMAGES, better="none"),
    ]


def _share(
    name: str,
    label: str,
    counts: list[tuple[ReaderResult, int, int]],
    stratum: str | None = None,
    better: str | None = None,
) -> Estimate:
    """A share of readings; clustered by reader where there are several, over images where it is one reader's."""
    events = [k < hits for _, hits, n in counts for k in range(n)]
    readers = [f"{r.reader}" if len(counts) > 1 else f"{r.reader} {k}" for r, _, n in counts for k in range(n)]
    direction = better or ("higher" if name == "accepted_rate" else "lower")
    estimate = rate(
        identifier(CODE, name, stratum),
        label,
        events,
        readers,
        unit_of_analysis="reading",
        better=direction,
        stratum=stratum,
    )
    # What clusters here is readers, and a Record counts patients there.
    return estimate._replace(measurement=estimate.measurement.model_copy(update={"clusters": None}))


def _lowest(reading: ExpertReading) -> Estimate:
    """The rate of the reader who accepted fewest."""
    shares = [(r.accepted, r.synthetic_seen) for r in reading.results]

    def at(alpha: float) -> Interval:
        low = min(clopper_pearson(k, n, alpha)[0] for k, n in shares)
        high = min(clopper_pearson(k, n, alpha / len(shares))[1] for k, n in shares)
        return Interval(low=low, high=high, level=1 - alpha, method=LOWEST, sided=1)

    measurement = Measurement(
        id=f"{CODE}.lowest_accepted_rate",
        label="Samples accepted by the reader who accepted fewest",
        value=min(k / n for k, n in shares),
        unit="fraction",
        interval=at(ALPHA),
        n=min(n for _, n in shares),
        unit_of_analysis="image",
        better="higher",
        clusters=None,
    )
    return Estimate(measurement, at)


def _row(reading: ExpertReading, result: ReaderResult) -> Row:
    reader = next(r for r in reading.readers if r.id == result.reader)
    return {
        "reader": result.reader,
        "role": reader.role,
        "years": reader.years,
        "synthetic_seen": result.synthetic_seen,
        "accepted": result.accepted,
        "unrealistic": result.unrealistic,
        "label_wrong": result.label_wrong,
        "synthetic_called_real": result.synthetic_called_real,
        "real_seen": result.real_seen,
        "real_accepted": result.real_accepted,
        "real_called_real": result.real_called_real,
    }


def _table(reading: ExpertReading) -> Exhibit:
    columns = ["reader", "role", "years", "samples read", "accepted", "unrealistic", "label wrong"]
    more = ["called real", "real read", "real accepted", "real called real"] if reading.real else []
    rows = []
    for reader, r in zip(reading.readers, reading.results, strict=True):
        counts = [r.synthetic_seen, r.accepted, r.unrealistic, r.label_wrong]
        extra = [r.synthetic_called_real, r.real_seen, r.real_accepted, r.real_called_real] if reading.real else []
        rows.append([reader.id, reader.role, f"{reader.years:g}", *(str(value) for value in [*counts, *extra])])
    return Exhibit(
        id=f"{CODE}-readers",
        kind="counts",
        title="What each reader said",
        caption=f"Question: {reading.question} Protocol {reading.protocol}, {reading.date}.",
        data={"columns": [*columns, *more], "rows": rows},
    )


def _forest(reading: ExpertReading, estimates: list[Estimate]) -> Exhibit:
    shown = [e for e in estimates if e.measurement.id.startswith(f"{CODE}.accepted_rate")]
    return forest(
        f"{CODE}-accepted",
        "Share accepted",
        "Ends are one-sided 95 % bounds: over images for one reader, over readers for all of them.",
        shown,
        x=(0.0, 1.0),
        label=lambda m: m.stratum or "all readers",
    )


def _said(reading: ExpertReading) -> list[str]:
    blinded = "did not know which images were synthetic" if reading.blinded else "knew which images were synthetic"
    who = "; ".join(f"{r.id}, {r.role}, {r.years:g} years" for r in reading.readers)
    return [
        f"Expert reading {reading.file} (SHA-256 {reading.sha256}), protocol {reading.protocol}, {reading.date}.",
        f"Question: {reading.question}",
        f"{reading.synthetic} samples and {reading.real} real images were shown; readers {blinded}. Readers: {who}.",
    ]
