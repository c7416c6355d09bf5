"""Keys of the seal, made before they are needed and named to the user."""

from __future__ import annotations

import click


def announce_keys() -> None:
    """Make the keys of the seal where there are none, and say so on stderr.

    Raises:
        InputError: a key or certificate that the user named cannot be used.
        ConfigurationError: its password is wrong or missing.
    """
    from medgan_qa.evidence.seal import seal_identity, seal_key

    for note in (seal_identity().note, seal_key().note):
        if note:
            click.echo(note, err=True)
