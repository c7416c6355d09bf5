"""`medgan-qa verify`: check that nothing changed since a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medgan_qa.cli.options import debug_option

if TYPE_CHECKING:
    from medgan_qa.evidence.verify import Check, Verification

WORDS = {"failed": "FAILED", "not_checked": "not checked", "ok": "ok"}
"""How the states are printed, in the order in which they are."""
COLOURS = {"failed": "red", "not_checked": "yellow", "ok": "green"}


@click.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", help="Dataset of the run (.toml, folder or phantom:NAME), to recompute its digest.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Attempt ledger [the one that the Record names].")
@click.option("--trusted", type=click.Path(path_type=Path), help="Folder of public keys; other signers are refused.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON on stdout.")
@debug_option
def command(path: Path, data: str | None, ledger: Path | None, trusted: Path | None, as_json: bool) -> int:
    """Check that nothing changed since the run in PATH, a run's folder or its report.pdf.

    Exit code 0: nothing failed; 4: a file differs, is missing or is extra, or a signature does not hold.
    """
    from medgan_qa.evidence.verify import verify

    found = verify(path, data=data, ledger=ledger, trusted=trusted)
    click.echo(_as_json(found)) if as_json else _show(found)
    return 0 if found.ok else 4


def _as_json(found: Verification) -> str:
    return json.dumps({"path": found.path, "ok": found.ok, "checks": [c._asdict() for c in found.checks]}, indent=2)


def _show(found: Verification) -> None:
    for state, word in WORDS.items():
        for check in found.checks:
            if check.state == state:
                click.secho(f"{word:<12}", fg=COLOURS[state], nl=False)
                click.echo(_line(check))
    counts = ", ".join(f"{sum(c.state == state for c in found.checks)} {word.lower()}" for state, word in WORDS.items())
    click.echo(f"{'Nothing changed' if found.ok else 'NOT AS IT WAS'}: {counts}")


def _line(check: Check) -> str:
    file = f" ({check.file})" if check.file else ""
    # Names and texts come from files that somebody may have tampered with; they must not steer the terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in f"{check.name}{file}: {check.detail}")
