"""The software and models behind a run, as a CycloneDX 1.6 bill of materials; made from the Record alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from medgan_qa.digests import sha256
from medgan_qa.record import Measurement, Record

TOOL = "medgan-qa"
MODEL_REF = "model"
DETECTOR_REF = "detector"
OF_DETECTOR = ".detector_"
"""Stands in the id of what was measured of the detector and not of the model."""
NOT_INSTALLED = "not installed"
LONGEST_VERSION = 1024
"""Characters; the format allows no more."""
SHA256 = re.compile("[0-9a-f]{64}")


def sbom_json(record: Record, record_sha256: str = "") -> str:
    """A Record's bill of materials: the tool and its packages, the audited model, and the detector if there is one.

    The models carry model cards with what was measured under a criterion. Serial number and time come from the Record,
    so that one Record always gives the same bytes; facts that it does not hold are left out.

    Args:
        record: the run.
        record_sha256: SHA-256 of its file, where the file is other text than this version would write [of that text].

    References:
        ECMA-424, CycloneDX v1.6 (modelCard.quantitativeAnalysis.performanceMetrics).
    """
    digest = record_sha256 or sha256((record.to_json() + "\n").encode())
    tool = _application(record)
    libraries = _libraries(record.environment.get("packages"))
    models = [_model(MODEL_REF, record.subject)]
    detector = _detector(record)
    if detector:
        models.append(_model(DETECTOR_REF, detector))
    finished = _finished(record)
    bom = Bom(
        components=[*libraries, *models],
        serial_number=uuid5(NAMESPACE_URL, f"urn:medgan-qa:record:{digest}"),
        metadata=BomMetaData(
            component=tool,
            tools=ToolRepository(components=[_application(record, "generator")]),
            timestamp=finished,
            properties=_properties(record_sha256=digest, run=record.run.get("id"), verdict=record.verdict.value),
        ),
    )
    # The run is what is described: it took the packages, and the models that it audited and read with.
    bom.register_dependency(tool, [*libraries, *models])
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    if finished is None:
        # The library puts the time of day where none is given, and the Record knows of no time.
        del content["metadata"]["timestamp"]
    _add_model_cards(content, record, detector)
    first = {key: content.pop(key) for key in ("$schema", "bomFormat", "specVersion", "serialNumber", "version")}
    return json.dumps({**first, **content}, indent=2, ensure_ascii=False) + "\n"


def _application(record: Record, ref: str = TOOL) -> Component:
    version = _version(record.tool.get("version"))
    return Component(
        type=ComponentType.APPLICATION,
        name=_text(record.tool.get("name")) or TOOL,
        version=version,
        bom_ref=ref,
        purl=PackageURL("pypi", None, TOOL, version),
    )


def _libraries(packages: Any) -> list[Component]:
    listed = packages if isinstance(packages, Mapping) else {}
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=_version(version),
            bom_ref=f"package:{name}",
            purl=PackageURL("pypi", None, name, _version(version)),
        )
        for name, version in ((str(name), version) for name, version in listed.items())
        if name.strip(" /") and version != NOT_INSTALLED
    ]


def _model(ref: str, subject: Mapping[str, Any]) -> Component:
    digest = str(subject.get("sha256", "")).removeprefix("sha256:").lower()
    known = SHA256.fullmatch(digest) is not None
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=_text(subject.get("name")) or _text(subject.get("file")) or ref,
        version=_version(subject.get("version")),
        bom_ref=ref,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if known else [],
        properties=_properties(**{key: subject.get(key) for key in ("file", "format", "parameters")}),
    )


def _detector(record: Record) -> Mapping[str, Any]:
    named = record.subject.get("detector")
    if isinstance(named, Mapping):
        return named
    return {"name": named} if named else {}


def _properties(**facts: Any) -> list[Property]:
    texts = ((name, _text(value)) for name, value in facts.items())
    return [Property(name=f"{TOOL}:{name}", value=text) for name, text in texts if text is not None]


def _text(value: Any) -> str | None:
    return None if value is None or value == "" or isinstance(value, Mapping | list) else str(value)


def _version(value: Any) -> str | None:
    text = _text(value)
    return None if text is None else text[:LONGEST_VERSION]


def _finished(record: Record) -> datetime | None:
    for key in ("finished_utc", "started_utc"):
        try:
            time = datetime.fromisoformat(str(record.run.get(key)))
        except ValueError:
            continue
        if time.tzinfo is not None:
            return time
    return None


def _add_model_cards(content: dict[str, Any], record: Record, detector: Mapping[str, Any]) -> None:
    # The library (11.12) has no class for model cards, although the format has had them since 1.5.
    judged = {criterion.measurement for audit in record.audits for criterion in audit.criteria}
    measured = [item for audit in record.audits for item in audit.measurements if item.id in judged]
    own = [item for item in measured if OF_DETECTOR not in item.id]
    of_detector = [item for item in measured if OF_DETECTOR in item.id]
    cards = {
        MODEL_REF: {**_model_card(record.subject, own, record.limitations), "considerations": _considerations(record)},
        DETECTOR_REF: _model_card(detector, of_detector),
    }
    for component in content["components"]:
        if component["bom-ref"] in cards:
            component["modelCard"] = _without_empty(cards[component["bom-ref"]])


def _model_card(
    subject: Mapping[str, Any], measured: list[Measurement], limitations: Iterable[str] = ()
) -> dict[str, Any]:
    # A performance metric has no place for its unit; limitations of the test are none of the model.
    remarks = [(f"unit:{name}", unit) for name, unit in {_type(item): item.unit for item in measured}.items()]
    remarks += [("limitation", text) for text in limitations]
    return {
        "modelParameters": {"task": _text(subject.get("task"))},
        "quantitativeAnalysis": {"performanceMetrics": [_metric(item) for item in measured]},
        "properties": [{"name": f"{TOOL}:{name}", "value": value} for name, value in remarks],
    }


def _considerations(record: Record) -> dict[str, Any]:
    nested = record.context.get("context")
    declared = {**record.context, **(nested if isinstance(nested, Mapping) else {})}
    names = {"users": "user", "useCases": "intended_use"}
    return {field: [_text(declared.get(key))] for field, key in names.items() if _text(declared.get(key))}


def _metric(item: Measurement) -> dict[str, Any]:
    """A measurement; one that could not be obtained stays in the list, without a value."""
    interval = item.interval
    bounds = {} if interval is None else {"lowerBound": _number(interval.low), "upperBound": _number(interval.high)}
    return _without_empty(
        {"type": _type(item), "value": _number(item.value), "slice": item.stratum, "confidenceInterval": bounds}
    )


def _type(item: Measurement) -> str:
    """The measurement's id without its stratum, which stands in the slice."""
    return item.id.removesuffix(f"[{item.stratum}]")


def _number(value: float | None) -> str | None:
    return None if value is None else repr(value)


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    """The entries that say something, at every depth."""
    parts: Iterable[tuple[str, Any]] = (
        (key, _without_empty(part) if isinstance(part, dict) else part) for key, part in value.items()
    )
    return {key: part for key, part in parts if part not in (None, "", [], {})}
