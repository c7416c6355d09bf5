"""The command line. Commands are imported when they are called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from medgan_qa import __version__
from medgan_qa.errors import MedganQAError

COMMANDS = {
    "audit": "Audit a model: run a suite, judge it, write a Record and a report.",
    "card": "Write a model's card from what its file tells, or try one against its model.",
    "data": "Propose a dataset file from a folder, or check a dataset.",
    "lock": "Fix criteria and data before a run.",
    "report": "Make report and exports of a run's folder again.",
    "sign": "Sign a run as author, reviewer or approver.",
    "dispose": "Put a signed disposition beside a criterion's verdict.",
    "verify": "Check that nothing in a run's folder or PDF changed.",
    "gate": "Hold a retrained model against the accepted one, case by case.",
    "accept": "Accept a run as the baseline of later gates.",
    "train": "Train a reference model.",
    "experiment": "Run a published experiment on phantoms, or list the experiments.",
    "list": "List audits, suites, models, extractors or hazards.",
    "weights": "Bring weights of standard networks here, and see what is there.",
    "cache": "Show or clear the features that are kept between runs.",
    "explain": "Explain what an audit measures, why, and its limits.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"medgan_qa.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 every criterion passed, 1 a criterion failed, 2 usage or input error, 3 inconclusive or a "
    "check did not run, 4 integrity, 5 internal error.",
)
@click.version_option(__version__, prog_name="medgan-qa")
def cli() -> None:
    """Validation evidence for generative models in medical imaging."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    Errors that a user can act on are printed without a traceback; `--debug` shows it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # A terminated run cleans up like an interrupted one: nothing half-written stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(_run(arguments, debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        code: Any = cli.main(arguments, prog_name="medgan-qa", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted; nothing was written.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except MedganQAError as error:
        if debug:
            raise
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return 141
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"internal error: {type(error).__name__}: {error}\n  what to do: run again with --debug and report it",
            err=True,
        )
        return 5
    return code if isinstance(code, int) else 0
