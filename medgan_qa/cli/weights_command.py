"""`medgan-qa weights`: bring the weights of standard networks onto this machine, and see what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medgan_qa.cli.options import debug_option, progress_bar

if TYPE_CHECKING:
    from medgan_qa.features.weights import Weights

INTEGRITY = 4


@click.group("weights")
@debug_option
def command() -> None:
    """Weights of standard feature networks. An audit downloads nothing: what it needs has to be here.

    They are kept in $MEDGAN_QA_WEIGHTS, or ~/.local/share/medgan-qa/weights.
    """


@command.command("status")
@click.option("--all", "everything", is_flag=True, help="Every classification network of torchvision too.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@debug_option
def status(everything: bool, as_json: bool) -> int:
    """Which weights are on this machine, where, and whether they are the right ones.

    Ends with 4 if a file is not what its name says.
    """
    from medgan_qa.features.weights import STANDARD, torchvision_here, torchvision_weights

    others = torchvision_weights() if everything else torchvision_here()
    rows = [_row(weights) for weights in [*STANDARD.values(), *others.values()]]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _show(rows)
    return INTEGRITY if any(row["digest"] == "differs" for row in rows) else 0


def _row(weights: Weights) -> dict[str, Any]:
    from medgan_qa.features.weights import located

    found = located(weights)
    row: dict[str, Any] = {"name": weights.name, "file": weights.file, "megabytes": weights.megabytes}
    row |= {"licence": weights.licence, "url": weights.url, "expected_sha256": weights.sha256}
    if found is None:
        return row | {"digest": "missing", "sha256": None, "path": None}
    digest = "matches" if weights.matches(found.digest) else "differs"
    return row | {"digest": digest, "sha256": found.digest, "path": str(found.path)}


def _show(rows: list[dict[str, Any]]) -> None:
    from medgan_qa.features.weights import folders

    lines = [("name", "MB", "digest", "where"), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for line in lines:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))
    click.echo(f"\nLooked for in {', '.join(map(str, folders()))}.")
    if any(row["digest"] == "missing" for row in rows):
        click.echo("To get one: medgan-qa weights fetch NAME, or medgan-qa weights import FILE.")


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["name"], f"{row['megabytes']:.0f}", row["digest"], row["path"] or f"not here ({row['file']})"


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Which weights it holds, where its name and digest should not decide.")
@debug_option
def import_(file: Path, name: str | None) -> int:
    """Copy FILE, a weights file brought from elsewhere, into the managed folder if its digest is the known one."""
    from medgan_qa.features.weights_transfer import import_weights

    weights, found = import_weights(file, name)
    _done(weights, found.path, found.digest)
    return 0


@command.command("fetch")
@click.argument("name")
@debug_option
def fetch(name: str) -> int:
    """Download the weights NAME from their publisher into the managed folder, and check them."""
    from medgan_qa.features.weights import located
    from medgan_qa.features.weights import weights as known
    from medgan_qa.features.weights_transfer import fetch as download

    weights = known(name)
    found = located(weights)
    if found is not None and weights.matches(found.digest):
        click.echo("Already here.", err=True)
    else:
        with progress_bar() as progress:
            found = download(weights, lambda done, total: progress(f"Fetching {weights.name}", done, total))
    _done(weights, found.path, found.digest)
    return 0


def _done(weights: Weights, path: Path, digest: str) -> None:
    click.echo(f"{weights.name}: {path}")
    click.echo(f"SHA-256 {digest}")
    click.echo(f"Licence: {weights.licence}")
