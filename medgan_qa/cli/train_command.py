"""`medgan-qa train`: train a reference model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from medgan_qa.cli.options import debug_option


@click.command("train")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run [runs/NAME]; an interrupted run in it goes on."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--size", type=click.Choice(["cpu", "gpu"]), help="Size of network and run [gpu on CUDA, else cpu].")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps, instead of the recipe's.")
@debug_option
def command(name: str, out: Path | None, device: str, size: str | None, steps: int | None) -> int:
    """Train the reference model NAME (see `medgan-qa list models`)."""
    from medgan_qa.subjects.load import choose_device
    from medgan_qa.subjects.recipes import trainer

    device = choose_device(device)
    chosen = trainer(name)
    recipe = chosen.recipe(name, size or ("gpu" if device.startswith("cuda") else "cpu"))
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    out = out or Path("runs") / name

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=recipe.steps, losses="")

        def report(done: int, losses: dict[str, float]) -> None:
            bar.update(task, completed=done, losses=" ".join(f"{k} {v:.3f}" for k, v in losses.items()))

        path = chosen.train(recipe, out, device=device, report=report)
    click.echo(str(path))
    return 0
