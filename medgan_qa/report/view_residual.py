"""What the run hands to the risk management file: what did not pass, what was not covered, and what it comes to."""

from __future__ import annotations

from typing import NamedTuple

from medgan_qa.record import Record, Verdict
from medgan_qa.report.declared import table
from medgan_qa.report.view_criteria import CriterionRow
from medgan_qa.report.view_trace import HazardView

_CAUTIONS = (
    "A verdict answers the criteria as they stand in section 7 on the data of section 6, and nothing beyond them. "
    "Whether the residual risk is acceptable is decided in the risk management file.",
    "This report lays out what the run recorded and computes no statistic of its own. Numbers are shortened for "
    "reading; the run's Record, which travels with the PDF, holds them in full.",
    "The report supports a review. It is no approval of a product, and no regulator has endorsed, cleared or qualified "
    "the tool, its methods or this report.",
)
_CONCLUSIONS = {
    Verdict.PASS: "Every condition that opens the gate was met.",
    Verdict.FAIL: "At least one condition was not met: the evidence does not support the claims of section 2.",
    Verdict.INCONCLUSIVE: "The evidence decides neither way. It supports no claim; section 11 says what was missing.",
    Verdict.NOT_APPLICABLE: "Nothing was judged. The run supports no claim.",
    Verdict.ERROR: "The run broke. It supports no claim; section 11 says where.",
}


class Residual(NamedTuple):
    """Sections 13 and 14 in words."""

    inputs: list[str]
    not_covered: list[str]
    cautions: list[str]
    conclusion: str


def residual(record: Record, rows: list[CriterionRow], hazards: list[HazardView]) -> Residual:
    """What is left to weigh after the run."""
    return Residual(_inputs(record, rows), _not_covered(record, hazards), list(_CAUTIONS), _conclusion(record))


def _conclusion(record: Record) -> str:
    told = _CONCLUSIONS[record.verdict]
    if record.verdict is not Verdict.PASS:
        return told
    if record.data.get("phantom"):
        return f"{told} The data are phantoms: the run supports no claim about patients."
    if record.criteria_lock.get("locked") is not True:
        return f"{told} The criteria were not locked beforehand, so the run supports no claim as confirmed."
    return f"{told} The evidence supports the claims of section 2 within the limitations of section 13."


def _inputs(record: Record, rows: list[CriterionRow]) -> list[str]:
    told = [
        f"{row.id} ({row.hazard}): {row.mark.word.lower()}. {row.label}: {row.estimate}, {row.judged_on} {row.bound}, "
        f"limit {row.limit}."
        for row in rows
        if row.mark.name != "pass"
    ]
    lost = [item for item in record.sentinels if item.verdict is not Verdict.PASS]
    told += [f"Sentinel case {item.case_id} ({item.audit}): {item.verdict.value}. {item.reason}" for item in lost]
    if told or not rows:
        return told or ["No criterion was judged, so the run says nothing on any hazard."]
    return [
        "Every criterion passed. What a pass leaves is the rate up to its limit: see the limits in section 7 and the "
        "bounds in section 1."
    ]


def _not_covered(record: Record, hazards: list[HazardView]) -> list[str]:
    silent = [f"{view.id} {view.name}".strip() for view in hazards if not view.rows]
    told = [f"Hazards without a criterion in this run: {'; '.join(silent)}."] if silent else []
    unjudged = [audit.code for audit in record.audits if audit.verdict is Verdict.NOT_APPLICABLE]
    told += [f"Audits that judged nothing: {', '.join(unjudged)}."] if unjudged else []
    outside = table(record, "context").get("out_of_scope")
    told += [f"Out of scope as declared: {'; '.join(map(str, outside))}."] if outside else []
    return [
        *told,
        "Readers' performance with and without the model, and any clinical outcome.",
        "Sites, scanners, populations, lesions and image qualities that the test data do not hold.",
    ]
