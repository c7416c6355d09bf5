"""`medgan-qa experiment`: experiments that installed packages ship (entry-point group `medgan_qa.experiments`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medgan_qa.cli.options import debug_option, progress_bar


class Experiments(click.Group):
    """A group with one command an experiment; what an experiment needs is imported when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every installed experiment, in alphabetical order."""
        return sorted(installed())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of an experiment."""
        found = installed().get(cmd_name)
        return None if found is None else _command(cmd_name, found)


def installed() -> dict[str, Any]:
    """Experiments by name: each with `title`, `options` (help by name) and `run(out, size=, device=, ..., report=)`."""
    from importlib.metadata import entry_points

    found: dict[str, Any] = {}
    for point in sorted(entry_points(group="medgan_qa.experiments"), key=lambda p: p.name):
        found |= point.load()()
    return found


@click.group("experiment", cls=Experiments, invoke_without_command=True)
@debug_option
@click.pass_context
def command(ctx: click.Context) -> int:
    """Run a published experiment on phantoms; without a name, list the experiments."""
    if ctx.invoked_subcommand is None:
        for name, experiment in sorted(installed().items()):
            click.echo(f"{name:<28} {experiment.title}")
    return 0


def _command(name: str, experiment: Any) -> click.Command:
    """The command of one experiment: the options of all, and its own."""

    def callback(out: Path | None, size: str | None, device: str, **given: Any) -> int:
        from medgan_qa.subjects.load import choose_device

        device = choose_device(device)
        size = size or ("gpu" if device.startswith("cuda") else "cpu")
        with progress_bar() as report:
            path = experiment.run(out or Path("runs") / name, size=size, device=device, report=report, **given)
        click.echo(str(path))
        return 0

    folder = click.Path(path_type=Path)
    return click.Command(
        name,
        callback=callback,
        help=experiment.title,
        params=[
            click.Option(["--out"], type=folder, help=f"Folder of the run [runs/{name}]; an interrupted one goes on."),
            click.Option(
                ["--size"], type=click.Choice(["cpu", "gpu"]), help="Size of the run [gpu on CUDA, else cpu]."
            ),
            click.Option(["--device"], default="auto", show_default=True, help="cpu, cuda, or auto."),
            click.Option(["--seed"], type=click.IntRange(min=0), help="Seed, instead of the experiment's."),
            click.Option(["--steps"], type=click.IntRange(min=1), help="Training steps, instead of the experiment's."),
            *(click.Option([f"--{option}"], help=text) for option, text in experiment.options.items()),
            click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."),
        ],
    )
