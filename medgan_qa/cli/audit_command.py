"""`medgan-qa audit`: load, run, judge, write a Record and render the report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from medgan_qa.cli.options import debug_option, document_options, ledger_option, templates_option


@click.command("audit")
@click.argument("model", required=False)
@click.option("--model", "named", metavar="MODEL", help="The same as the argument MODEL.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="File of weights for a model that is made by package.module:build.",
)
@click.option("--trust", is_flag=True, help="Run models in this process, without protection from them; recorded.")
@click.option("--loader", metavar="PACKAGE.MODULE:BUILD", help="The data loader of the training, to be looked into.")
@click.option("--suite", help="Suite of audits: see `medgan-qa list suites` [the lock's, or the criteria's].")
@click.option("--data", help="Dataset file (.toml) or its folder [the lock's, or the suite's embedded phantoms].")
@click.option("--criteria", type=click.Path(path_type=Path), help="Criteria file [the lock's, or the suite's own].")
@click.option(
    "--lock", type=click.Path(path_type=Path), help="Lock of criteria and data [criteria.lock.json beside --criteria]."
)
@click.option("--detector", help="Model that reads lesions in the target domain: FILE or reference:NAME.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the Record and report [medgan-qa-runs/MODEL-SUITE]."
)
@click.option("--also", multiple=True, metavar="CODE", help="An optional audit of the suite, or all; may be repeated.")
@click.option("--samples", type=click.IntRange(min=2), help="Images to draw from a sampler [as many as test images].")
@click.option("--extractor", "extractors", multiple=True, help="Features of the synthesis suite; may be repeated.")
@click.option("--discriminator", help="The sampler's discriminator, for membership inference.")
@click.option("--comparator", help="Discriminator suite: the same network from scratch [the card's comparator].")
@click.option(
    "--experts", type=click.Path(path_type=Path), help="Augmentation suite: what clinical experts saw and said (.toml)."
)
@click.option("--cache/--no-cache", default=True, help="Keep features for later runs [--cache].")
@click.option("--seed", type=int, help="Names every random stream of the run [the criteria's, or 0].")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, or auto.")
@ledger_option
@templates_option
@document_options
@click.option("--json", "as_json", is_flag=True, help="Print the Record as JSON on stdout.")
@debug_option
def command(
    model: str | None,
    named: str | None,
    weights: Path | None,
    trust: bool,
    loader: str | None,
    suite: str | None,
    data: str | None,
    criteria: Path | None,
    lock: Path | None,
    detector: str | None,
    out: Path | None,
    also: tuple[str, ...],
    samples: int | None,
    extractors: tuple[str, ...],
    discriminator: str | None,
    comparator: str | None,
    experts: Path | None,
    cache: bool,
    seed: int | None,
    device: str,
    ledger: Path | None,
    templates: Path | None,
    document_id: str | None,
    document_revision: str | None,
    as_json: bool,
) -> int:
    """Audit MODEL and write Record and report.

    MODEL is a file, package.module:build for your own code, reference:NAME for a shipped model, or control:NAME for a
    planted fault. A model runs in a process of its own, which may do little but compute.
    Nothing but exit code 0 means that every criterion passed.
    """
    from medgan_qa.cli._running import Request, audit, document, the_model
    from medgan_qa.cli._showing import EXIT_CODES, printable, show

    request = Request(
        model=the_model(model, named),
        weights=weights,
        trust=trust,
        loader=loader,
        out=out,
        suite=suite,
        data=data,
        criteria=criteria,
        lock=lock,
        detector=detector,
        seed=seed,
        device=device,
        ledger=ledger,
        templates=templates,
        document=document(document_id, document_revision),
        also=tuple(code if code == "all" else code.upper() for code in also),
        samples=samples,
        extractors=extractors,
        discriminator=discriminator,
        comparator=comparator,
        experts=experts,
        cache=cache,
        debug="--debug" in sys.argv,
    )
    record, folder = audit(request)
    if as_json:
        click.echo(printable(record).to_json())
    else:
        show(printable(record), folder)
    return EXIT_CODES[record.verdict]
