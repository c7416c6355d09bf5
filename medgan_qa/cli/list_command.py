"""`medgan-qa list`: what there is."""

from __future__ import annotations

import click

from medgan_qa.cli.options import debug_option


@click.command("list")
@click.argument("what", type=click.Choice(["audits", "suites", "models", "extractors", "hazards"]))
@debug_option
def command(what: str) -> int:
    """List audits, suites, models (shipped and trainable), extractors or the hazards of the shipped catalogue."""
    for name, text in _LISTS[what]():
        click.echo(f"{name:<28} {text}")
    return 0


def _audits() -> list[tuple[str, str]]:
    from medgan_qa.audits import AUDITS

    return [(code, f"{audit.title}. {audit.question}") for code, audit in AUDITS.items()]


def _suites() -> list[tuple[str, str]]:
    from medgan_qa.suites import names, suite

    def told(name: str) -> str:
        whole = suite(name)
        optional = (
            f"; with --also or a criterion: {', '.join(a.code for a in whole.optional)}" if whole.optional else ""
        )
        return f"{whole.title}: {', '.join(a.code for a in whole.audits)}{optional}"

    return [(name, told(name)) for name in names()]


def _models() -> list[tuple[str, str]]:
    from medgan_qa.controls.named import TABLES, controls
    from medgan_qa.subjects.load import REFERENCE, shipped_models
    from medgan_qa.subjects.recipes import trainable

    shipped = [(REFERENCE + name, f"shipped, {path}") for name, path in shipped_models().items()]
    planted = [
        (f"control:{name}", f"{suite}, planted: {control.title}")
        for suite in TABLES
        for name, control in controls(suite).items()
    ]
    return [*shipped, *((n, f"medgan-qa train {n}: {title}") for n, title in trainable().items()), *planted]


def _extractors() -> list[tuple[str, str]]:
    from medgan_qa.features.extractor import extractors

    return [(name, text if usable else f"NOT USABLE: {text}") for name, (usable, text) in extractors().items()]


def _hazards() -> list[tuple[str, str]]:
    from medgan_qa.criteria import catalogue

    return [(hazard.id, f"{hazard.name}. {hazard.situation}") for hazard in catalogue().values()]


_LISTS = {"audits": _audits, "suites": _suites, "models": _models, "extractors": _extractors, "hazards": _hazards}
