"""`medgan-qa accept`: make a run the baseline of later gates."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from medgan_qa.cli.options import debug_option
from medgan_qa.errors import ConfigurationError

REGISTRY = Path("medgan-qa-baselines")


@click.command("accept")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the baseline is called, e.g. the product's name.")
@click.option("--reason", default="", help="Why this run is accepted; it stands in the history.")
@click.option("--by", "who", help="Who accepts it [the name you are logged in with].")
@click.option("--allow-failed", default="", metavar="REASON", help="Why a run is accepted that did not pass.")
@click.option(
    "--registry", type=click.Path(path_type=Path), default=REGISTRY, show_default=True, help="Accepted baselines."
)
@click.option("--history", "show_history", is_flag=True, help="Print what was accepted under the name, and stop.")
@debug_option
def command(
    folder: Path | None,
    name: str,
    reason: str,
    who: str | None,
    allow_failed: str,
    registry: Path,
    show_history: bool,
) -> int:
    """Accept the run in FOLDER, which must verify, as the current baseline of a name.

    Earlier ones are kept, and the history is chained so that no line of it can be changed unseen.
    """
    from medgan_qa.evidence.baselines import accept, history

    if show_history and folder is None:
        for line in history(registry, name):
            click.echo(_text(line))
        return 0
    if show_history or folder is None:
        raise ConfigurationError(
            "Either a run is accepted or the history is shown.",
            expected="DIR, or --history",
            found="both" if show_history else "neither",
            where="medgan-qa accept",
            todo="medgan-qa accept DIR --name NAME --reason '...', or medgan-qa accept --name NAME --history",
        )
    place, _ = accept(
        folder, registry, name, reason=reason, by=_login() if who is None else who, allow_failed=allow_failed
    )
    click.echo(str(place))
    return 0


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def _text(line: dict[str, object]) -> str:
    who = f" by {line['by']}" if line["by"] else ""
    failed = f" Accepted although it did not pass: {line['allowed_failed']}" if line["allowed_failed"] else ""
    model = f"{line['model']} {line['version']}".strip()
    head = f"{line['number']:04d}  {line['time_utc']}  {model}  {line['verdict']}{who}"
    return f"{head}: {line['reason']}{failed}\n      model {line['model_sha256']}, Record {line['record_sha256']}"
