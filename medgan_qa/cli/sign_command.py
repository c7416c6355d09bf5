"""`medgan-qa sign`: sign a run as author, reviewer or approver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from medgan_qa.cli.options import debug_option, templates_option
from medgan_qa.errors import IntegrityError, MedganQAError

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("sign")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Printed name of the signer.")
@click.option("--role", required=True, help="Role in which the signer signs.")
@click.option(
    "--meaning",
    required=True,
    type=click.Choice(["author", "review", "approval"]),
    help="What the signature means.",
)
@click.option("--comment", default="", help="Free text, one line.")
@click.option("--key", type=click.Path(path_type=Path), help="Ed25519 key (PEM) [the signer's key, made on first use].")
@templates_option
@debug_option
def command(
    folder: Path, name: str, role: str, meaning: str, comment: str, key: Path | None, templates: Path | None
) -> int:
    """Sign the run in FOLDER and render its report again.

    The signature covers record.json and every evidence file that it names. A folder that does not verify is not signed.
    """
    from medgan_qa.evidence.signing import sign

    def write() -> Path:
        return sign(folder, name, role, meaning, comment, key)  # type: ignore[arg-type]  # click has checked it

    return add(folder, name, key, write, templates)


def add(folder: Path, name: str, key: Path | None, write: Callable[[], Path], templates: Path | None) -> int:
    """Verify a folder, write a signed file into it, and bring report and manifest up to date.

    Raises:
        IntegrityError: the folder does not verify; nothing was written.
        MedganQAError: the signed file cannot be written, or it is written and the report cannot be made.
    """
    from medgan_qa.evidence.keys import signing_key
    from medgan_qa.evidence.signing import one_at_a_time

    if not folder.is_dir():
        raise click.UsageError(f"{folder} is no folder; name the folder of the run.")
    # Publishing puts another folder in this one's place: a signature that came in meanwhile would be lost with the old
    # one. The folder above stays.
    with one_at_a_time(folder.resolve().parent):
        _require_sound(folder)
        note = signing_key(key, name).note
        path = write()
        if note:
            click.echo(note, err=True)
        _publish(folder, path, templates)
    click.echo(str(path))
    return 0


def _require_sound(folder: Path) -> None:
    from medgan_qa.evidence.verify import verify

    failed = verify(folder).failed
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise IntegrityError(
            "The folder does not verify, and was not signed.",
            expected="a folder in which nothing changed since it was written",
            found=f"{failed[0].file or failed[0].name}: {failed[0].detail}{more}",
            where=folder,
            todo="`medgan-qa verify` lists what differs. Take the folder from where it was kept unchanged.",
        )


def _publish(folder: Path, signed: Path, templates: Path | None) -> None:
    from medgan_qa.report.publish import publish

    try:
        publish(folder, templates)
    except MedganQAError:
        click.echo(f"{signed} is written, but the report is not up to date; run `medgan-qa report`.", err=True)
        raise
