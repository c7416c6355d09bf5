"""`medgan-qa dispose`: say how a criterion's outcome was dealt with."""

from __future__ import annotations

from pathlib import Path

import click

from medgan_qa.cli.options import debug_option, templates_option
from medgan_qa.cli.sign_command import add


@click.command("dispose")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("criterion")
@click.option(
    "--as",
    "disposition",
    required=True,
    type=click.Choice(["pass-with-exception", "accepted-failure"]),
    help="For one that passed / for one that failed or is inconclusive.",
)
@click.option("--reason", required=True, help="Why, one line.")
@click.option("--name", required=True, help="Printed name of who decides.")
@click.option("--role", required=True, help="Role in which.")
@click.option("--key", type=click.Path(path_type=Path), help="Ed25519 key (PEM) [the signer's key, made on first use].")
@templates_option
@debug_option
def command(
    folder: Path,
    criterion: str,
    disposition: str,
    reason: str,
    name: str,
    role: str,
    key: Path | None,
    templates: Path | None,
) -> int:
    """Record how CRITERION of the run in FOLDER was dealt with, signed, and render the report again.

    A disposition never changes a verdict: it stands beside it in the report.
    """
    from medgan_qa.evidence.signing import dispose

    def write() -> Path:
        return dispose(folder, criterion, disposition, reason, name, role, key)  # type: ignore[arg-type]  # click's choice

    return add(folder, name, key, write, templates)
