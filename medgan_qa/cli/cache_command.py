"""`medgan-qa cache`: what the feature store holds, and emptying it."""

from __future__ import annotations

import json

import click

from medgan_qa.cli.options import debug_option


@click.group("cache", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@debug_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> int:
    """Features that were computed and are kept: the folder, the size, how many images by extractor.

    They are kept in $MEDGAN_QA_CACHE, or ~/.cache/medgan-qa, up to $MEDGAN_QA_CACHE_LIMIT (such as 500MB), or 2 GB;
    what was used longest ago goes first. Removing them costs time at the next run and changes no result.
    """
    if context.invoked_subcommand is None:
        _show(as_json)
    return 0


@command.command("clear")
@click.option("--extractor", "name", help="Only the features of this extractor.")
@debug_option
def clear(name: str | None) -> int:
    """Remove what is kept. Ends with 2 if it cannot be removed, or nothing of that extractor is there."""
    from medgan_qa.errors import ConfigurationError, OutputError
    from medgan_qa.features.store import FeatureStore

    store = FeatureStore()
    kept = sorted({entry.name for entry in store.contents().entries})
    if name is not None and name not in kept and store.usable:
        raise ConfigurationError(
            "Nothing is kept of that extractor.",
            expected=f"one of {', '.join(kept)}" if kept else "an extractor that features are kept of; there is none",
            found=name,
            where=store.path,
            todo="`medgan-qa cache` shows what is kept.",
        )
    removed = store.clear(name)
    if not store.usable:
        raise OutputError(
            "The feature store could not be cleared.",
            expected="a feature store that can be written",
            found=" ".join(store.warnings) or "no folder",
            where=store.path,
            todo="Remove the file by hand.",
        )
    _warn(store.warnings)
    click.echo(f"Removed the features of {removed} images.")
    return 0


def _show(as_json: bool) -> None:
    from medgan_qa.features.store import FeatureStore

    store = FeatureStore()
    found = store.contents()
    _warn(store.warnings)
    if as_json:
        rows = [entry._asdict() for entry in found.entries]
        path = None if found.path is None else str(found.path)
        click.echo(json.dumps({**found._asdict(), "path": path, "entries": rows}, indent=2))
        return
    click.echo(f"{found.path or 'nothing is kept'}")
    click.echo(f"{found.bytes / 1e6:.1f} MB of at most {found.max_bytes / 1e6:.0f} MB")
    for entry in found.entries:
        click.echo(f"{entry.name:<28} version {entry.version}, {entry.digest[:12]}: {entry.images} images")


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
