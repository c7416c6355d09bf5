"""`medgan-qa card`: write a model's card from what its file tells, and check a card against its model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medgan_qa.cli.options import debug_option

if TYPE_CHECKING:
    from medgan_qa.subjects.card import Card
    from medgan_qa.subjects.dry_run import DryRun
    from medgan_qa.subjects.proposal import Proposal

NOT_DECLARED = "not declared"


@click.group("card")
@debug_option
def command() -> None:
    """The model card: what an audit has to know to run a model, in a TOML file beside it."""


def opening_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a model is opened and tried."""
    for option in (
        debug_option,
        click.option("--json", "as_json", is_flag=True, help="Print card and dry run as JSON."),
        click.option(
            "--size", type=click.IntRange(1, 4096), default=64, help="Rows and columns of the dry run's images [64]."
        ),
        click.option("--trust", is_flag=True, help="Run the model in this process, without protection from it."),
        click.option("--device", default="cpu", help="cpu, cuda or auto [cpu]."),
        click.option("--weights", type=click.Path(path_type=Path), help="Weights, for package.module:build."),
    ):
        function = option(function)
    return function


def key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each key of a card."""
    from_options = (
        click.option("--name", help="What the model is called in reports."),
        click.option("--version", help="Its version."),
        click.option("--task", help="synthesis, translation, super-resolution, discriminator or segmentation."),
        click.option("--channels-in", type=click.IntRange(1), help="Channels of its input."),
        click.option("--channels-out", type=click.IntRange(1), help="Channels of its output."),
        click.option("--range-in", type=float, nargs=2, help="What it wants its input to span, e.g. -1 1."),
        click.option("--range-out", type=float, nargs=2, help="What its output spans."),
        click.option("--latent-dim", type=click.IntRange(1), help="Synthesis: length of its latent vector."),
        click.option("--scale", type=click.IntRange(1), nargs=2, help="Super-resolution: times rows, times columns."),
        click.option(
            "--class", "classes", multiple=True, help="A class that it draws or tells apart; may be repeated."
        ),
        click.option("--output-role", help="viewed, pipeline_input or training_only."),
        click.option("--training-data", help="The partition that it was trained on, e.g. train."),
    )
    for option in reversed(from_options):
        function = option(function)
    return function


@command.command("init")
@click.argument("model")
@key_options
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it [MODEL.card.toml beside the model].")
@click.option("--yes", is_flag=True, help="Take what is guessed without asking.")
@click.option("--force", is_flag=True, help="Replace a card that is there.")
@opening_options
def init(
    model: str,
    weights: Path | None,
    device: str,
    trust: bool,
    size: int,
    as_json: bool,
    out: Path | None,
    yes: bool,
    force: bool,
    **keys: Any,
) -> int:
    """Write the card of MODEL: what its file and a trial tell, and what is asked for or given.

    On a terminal, what is missing or only guessed is asked for. Elsewhere it has to be given: all that is missing is
    listed at once.
    """
    from medgan_qa.report.files import replace_file
    from medgan_qa.subjects.card_text import card_toml
    from medgan_qa.subjects.opening import open_model

    known = _known(keys)
    opened = open_model(model, weights=weights, device=device, trust=trust)
    target = out or opened.card_path
    _require_free(target, force)
    proposal = opened.propose(size, known)
    card_keys = _asked(proposal, known, model, yes) if _is_terminal() else _complete(proposal, known, model, yes)
    text = card_toml(card_keys)
    card, seen = opened.tried(text, target, size)
    replace_file(target, text.encode())
    _show(card, text, seen, target, as_json)
    return 0


@command.command("check")
@click.argument("model")
@opening_options
def check(model: str, weights: Path | None, device: str, trust: bool, size: int, as_json: bool) -> int:
    """Run MODEL once by its card and say what came out.

    Ends with 2 if the card does not fit the model; what is only odd is said as a warning.
    """
    from medgan_qa.subjects.card_text import card_toml
    from medgan_qa.subjects.dry_run import dry_run
    from medgan_qa.subjects.load import load_subject

    subject = load_subject(model, device, weights=weights, trust=trust)
    _show(subject.card, card_toml(subject.card.as_dict()), dry_run(subject, size), None, as_json)
    return 0


def _known(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that were given, as a card holds them."""
    from medgan_qa.subjects.card import ROLES, TASKS

    known = {key: value for key, value in keys.items() if value not in (None, ())}
    known |= {key: list(known[key]) for key in ("range_in", "range_out", "classes") if key in known}
    if "scale" in known:
        rows, columns = known["scale"]
        known["scale"] = rows if rows == columns else [rows, columns]
    for key, allowed in (("task", TASKS), ("output_role", ROLES)):
        if key in known and known[key] not in allowed:
            raise click.BadParameter(f"{known[key]!r} is none of {', '.join(allowed)}", param_hint=f"--{_option(key)}")
    return known


def _option(key: str) -> str:
    return key.replace("_", "-")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _require_free(target: Path, force: bool) -> None:
    from medgan_qa.errors import OutputError

    if target.exists() and not force:
        raise OutputError(
            "There is a card already.",
            expected="no file of that name",
            found=f"{target.name}",
            where=target,
            todo="Edit it and run `medgan-qa card check`, name another file with --out, or replace it with --force.",
        )


def _wanted(task: str | None) -> list[str]:
    """The keys that a card of a task has to hold, in order."""
    from medgan_qa.subjects.card import needed_keys

    return [
        "name",
        "version",
        "task",
        *(key for key in needed_keys(task or "translation") if key not in ("name", "version")),
    ]


def _complete(proposal: Proposal, known: dict[str, Any], model: str, yes: bool) -> dict[str, Any]:
    """The card's keys without anybody to ask."""
    from medgan_qa.errors import ConfigurationError

    proposal = _with_name(proposal, model)
    told = {key: t.value for key, t in proposal.keys.items() if yes or not t.guess}
    wanted = _wanted(known.get("task", told.get("task")))
    keys = {**{key: value for key, value in told.items() if key in wanted}, **known}
    missing = [key for key in wanted if key not in keys]
    if not missing:
        return _ordered(keys)
    guesses = {key: t for key, t in proposal.keys.items() if key in missing}
    raise ConfigurationError(
        "The card lacks what neither the file nor an option tells.",
        expected=", ".join(f"--{_option(key)}" for key in missing),
        found=_found(proposal) + "".join(f"; {k}: perhaps {json.dumps(t.value)} ({t.why})" for k, t in guesses.items()),
        where=model,
        todo="Give these options" + (", or --yes to take the guesses." if guesses else ", or run it on a terminal."),
    )


def _found(proposal: Proposal) -> str:
    if proposal.taken:
        return f"a model that turns {proposal.taken} into {proposal.returned}"
    return "a model that refused every trial: " + "; ".join(proposal.refusals[:3])


def _with_name(proposal: Proposal, model: str) -> Proposal:
    from medgan_qa.subjects.proposal import Told

    proposal.keys.setdefault("name", Told(Path(model.replace(":", ".")).stem, "the file's name", guess=True))
    return proposal


def _asked(proposal: Proposal, known: dict[str, Any], model: str, yes: bool) -> dict[str, Any]:
    """The card's keys, with everything that is not certain asked for."""
    click.echo(_found(proposal), err=True)
    told, keys = _with_name(proposal, model).keys, dict(known)
    done: set[str] = set()
    # The task decides which keys come after it.
    while todo := [key for key in _wanted(keys.get("task")) if key not in done]:
        done.add(todo[0])
        keys.setdefault(todo[0], _value(todo[0], told, yes))
    for key in ("output_role", "training_data"):
        keys.setdefault(key, click.prompt(_question(key), default=NOT_DECLARED, err=True))
    return _ordered({key: value for key, value in keys.items() if value != NOT_DECLARED})


def _value(key: str, told: dict[str, Any], yes: bool) -> Any:
    known = told.get(key)
    if known is not None and (yes or not known.guess):
        return known.value
    why = f" ({known.why})" if known is not None else ""
    default = None if known is None else _as_typed(known.value)
    return _parsed(key, click.prompt(_question(key) + why, default=default, err=True))


def _question(key: str) -> str:
    from medgan_qa.subjects.card import ROLES, TASKS

    return {"task": f"task: {', '.join(TASKS)}", "output_role": f"output_role: {', '.join(ROLES[:3])}"}.get(key, key)


def _as_typed(value: Any) -> str:
    return " ".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)


def _parsed(key: str, text: str) -> Any:
    from medgan_qa.errors import ConfigurationError

    try:
        if key.startswith("range_"):
            low, high = (float(part) for part in text.replace(",", " ").strip("[] ").split())
            return [low, high]
        if key == "scale":
            factors = [int(part) for part in text.replace(",", " ").strip("[] ").split()]
            return factors[0] if len(factors) == 1 else factors
        return int(text) if key in ("channels_in", "channels_out", "latent_dim") else text
    except ValueError as error:
        expected = "two numbers, e.g. -1 1" if key.startswith("range_") else "a whole number"
        raise ConfigurationError(
            f"{key} cannot be read.", expected=expected, found=text, where=key, todo="Run the command again."
        ) from error


def _ordered(keys: dict[str, Any]) -> dict[str, Any]:
    from medgan_qa.subjects.card import Card

    return {key: keys[key] for key in Card.__dataclass_fields__ if key in keys}


def _show(card: Card, text: str, seen: DryRun, target: Path | None, as_json: bool) -> None:
    if as_json:
        facts = {"card": card.as_dict(), "file": None if target is None else str(target), "dry_run": vars(seen)}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(text, nl=False)
        click.echo(f"\nDry run: {seen.taken} gave {seen.returned}" + _range(seen))
    for warning in seen.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    if target is not None:
        click.echo(f"Written: {target}", err=True)


def _range(seen: DryRun) -> str:
    return "" if seen.low is None else f", values between {seen.low:.4g} and {seen.high:.4g}"
