"""`medgan-qa explain`: what one audit measures, why, its limits and sources."""

from __future__ import annotations

import click

from medgan_qa.cli.options import debug_option


@click.command("explain")
@click.argument("code")
@debug_option
def command(code: str) -> int:
    """Explain the audit CODE, e.g. PAT-001."""
    from medgan_qa.audits import AUDITS
    from medgan_qa.errors import ConfigurationError

    audit = AUDITS.get(code.upper())
    if audit is None:
        raise ConfigurationError(
            "There is no audit of that code.",
            expected=f"one of {', '.join(AUDITS)}",
            found=code,
            todo="`medgan-qa list audits` shows what there is.",
        )
    click.echo(f"{audit.code}  {audit.title}\n\n{audit.document}\n")
    click.echo("Parameters (set under [parameters.CODE] in a criteria file):")
    for name, value in audit.parameters.items():
        click.echo(f"  {name} = {value!r}")
    return 0
