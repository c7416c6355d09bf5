"""What somebody has to declare, clause by clause: the words of the criteria file, the dataset and the card, or the gap.

A report does not hide what was left open. It prints "Not declared", says where it would be declared, and counts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from medgan_qa.record import Record
from medgan_qa.report import numbers
from medgan_qa.report.facts import plain, title

ROLES = {
    "viewed": "viewed by people",
    "pipeline_input": "input of a further processing step",
    "training_only": "training of other models only",
    "discriminator_only": "only the discriminator's score is used",
}
"""What may become of the output, in words."""
_NO_ROLE = (None, "", "not declared")


class Statement(NamedTuple):
    """What the report says on a clause; `missing` tells where to declare it, and is empty where it was."""

    clause: str
    label: str
    text: str
    missing: str = ""


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def table(record: Record, name: str) -> Mapping[str, Any]:
    """A table of the criteria file as the Record holds it; empty where the file has none."""
    return as_mapping(record.context.get(name))


def statements(record: Record) -> dict[str, Statement]:
    """Every clause that a person declares, by clause."""
    made = [*_purpose(record), *_article(record), *_data(record), *_methods(record)]
    return {statement.clause: statement for statement in made}


def _told(clause: str, label: str, value: Any, todo: str) -> Statement:
    if value in (None, "", [], (), {}):
        return Statement(clause, label, "", todo)
    text = "; ".join(map(plain, value)) if isinstance(value, list | tuple) else plain(value)
    return Statement(clause, label, text)


def _purpose(record: Record) -> list[Statement]:
    context = table(record, "context")
    role = output_role(record)
    rows = (
        ("intended-use", "Intended use", context.get("intended_use"), "intended_use"),
        ("output-role", "Role of the generated output", ROLES.get(role, role), "output_role"),
        ("anatomy", "Anatomy", context.get("anatomy"), "anatomy"),
        ("user", "Intended user", context.get("user"), "user"),
        ("claims", "Claims", _claims(record), "claims"),
        ("out-of-scope", "Out of scope", context.get("out_of_scope"), "out_of_scope"),
    )
    return [
        _told(clause, label, value, f"Set {key} in [context] of the criteria file.")
        for clause, label, value, key in rows
    ]


def output_role(record: Record) -> str:
    """What becomes of the output, as the criteria declare it, else the model card; empty where neither does."""
    declared = (table(record, "context"), as_mapping(record.subject.get("card")))
    return next((str(one["output_role"]) for one in declared if one.get("output_role") not in _NO_ROLE), "")


def _claims(record: Record) -> list[str]:
    of_criteria = [item.claim for audit in record.audits for item in audit.criteria if item.claim]
    return list(dict.fromkeys([*table(record, "context").get("claims", []), *of_criteria]))


def _article(record: Record) -> list[Statement]:
    card = as_mapping(record.subject.get("card"))
    training = {key: card[key] for key in ("training_data", "training") if card.get(key)}
    return [
        _told("training", "Training, as declared", training, "Set training_data and training in the model card."),
        _told(
            "protocol", "Protocol", _protocol(record), "Set id, revision and title in [protocol] of the criteria file."
        ),
        _told("qualification", "Tool qualification", record.tool.get("qualification"), "None recorded."),
    ]


def _protocol(record: Record) -> str:
    """The protocol with its rationale and approvers; nothing where the suite's own criteria stand in for one."""
    named = as_mapping(record.criteria_lock.get("protocol"))
    if not named.get("id") or record.criteria_lock.get("default"):
        return ""
    told = [protocol_name(named)]
    told += [f"Rationale: {plain(named['rationale'])}"] if named.get("rationale") else []
    told += [f"Approved by: {plain(named['approved_by'])}"] if named.get("approved_by") else []
    return ". ".join(told)


def protocol_name(named: Mapping[str, Any]) -> str:
    """Id, revision and title of a protocol."""
    revision = f", revision {named['revision']}" if named.get("revision") else ""
    return f"{named['id']}{revision}" + (f": {named['title']}" if named.get("title") else "")


def _data(record: Record) -> list[Statement]:
    data = table(record, "data")
    processing = data.get("allowed_processing")
    return [
        _told("data-source", "Source", _source(record), "Name the dataset in its description."),
        _told(
            "population",
            "Population",
            _population(record),
            "Add the columns site and attr.NAME to the dataset's table of cases.",
        ),
        _told(
            "independence",
            "Independence",
            _parts(as_mapping(data.get("independence"))),
            "Set by, and a statement, in [data.independence] of the criteria file.",
        ),
        _told(
            "sequestration",
            "Sequestration",
            _parts(as_mapping(data.get("sequestration"))),
            "Set since, custodian and a statement in [data.sequestration] of the criteria file.",
        ),
        _told(
            "reference-standard",
            "Reference standard",
            _parts(table(record, "reference_standard")),
            "Describe labels, annotators and adjudication in [reference_standard] of the criteria file.",
        ),
        _told("processing", "Processing", processing, "List allowed_processing in [data] of the criteria file."),
        _told("synthetic-data", "Synthetic data", _synthetic(record), "Add a column synthetic to the table of cases."),
    ]


def _parts(declared: Mapping[str, Any]) -> str:
    """A statement first, then the other keys; lists with `and`."""
    own = f"{plain(declared['statement']).rstrip('.')}. " if declared.get("statement") else ""
    rest = [
        f"{title(key)}: {' and '.join(map(plain, value)) if isinstance(value, list) else plain(value)}"
        for key, value in declared.items()
        if key != "statement" and value not in (None, "", [])
    ]
    return f"{own}{'; '.join(rest)}".strip()


def _source(record: Record) -> str:
    name = str(record.data.get("name") or "")
    return f"{name}: computed phantoms, made for this run" if name and record.data.get("phantom") else name


def _population(record: Record) -> str:
    sites, attributes = record.data.get("sites"), record.data.get("attributes")
    told = [f"sites {plain(sites)}"] if sites else []
    told += [f"attributes {plain(attributes)}"] if attributes else []
    return "; ".join(told)


def _synthetic(record: Record) -> str:
    if record.data.get("phantom"):
        return "Every image is a computed phantom. Phantoms show how a model behaves on them, and nothing of patients."
    parts = as_mapping(record.data.get("partitions"))
    counts = {name: as_mapping(part).get("synthetic") for name, part in parts.items()}
    known = {name: count for name, count in counts.items() if isinstance(count, int)}
    if not known:
        return ""
    told = [f"{numbers.counted(count, 'synthetic case')} in {name}" for name, count in known.items()]
    return f"As declared by the dataset: {', '.join(told)}."


def _methods(record: Record) -> list[Statement]:
    least = as_mapping(table(record, "data").get("min"))
    declared = f"At least {', '.join(f'{count} {unit}' for unit, count in least.items())}" if least else ""
    return [
        _told("sample-size", "Sample size", declared, "Set min in [data] of the criteria file, with its rationale.")
    ]
