"""`medgan-qa data`: propose a dataset file for a folder, check one, and look up what a pseudonym stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medgan_qa.cli.options import debug_option, progress_bar
from medgan_qa.errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from medgan_qa.cohorts.cohort import Partition
    from medgan_qa.cohorts.proposal import Proposal


@click.group("data")
@debug_option
def command() -> None:
    """Datasets: propose the files of one, check one, and look up a pseudonym."""


@command.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The dataset file [FOLDER/dataset.toml].")
@click.option("--name", help="Name of the dataset, printed in every report [the folder's].")
@click.option("--value-range", nargs=2, type=float, metavar="LOW HIGH", help="What the stored numbers span.")
@click.option("--window", nargs=2, type=float, metavar="LOW HIGH", help="What numbers are clipped to (CT).")
@click.option("--source", help="Contrast or series of the source images, e.g. T1w.")
@click.option("--target", help="Contrast or series of the paired reference images, e.g. FLAIR.")
@click.option("--series", help="DICOM: modality, or part of the description, of the series to take.")
@click.option("--force", is_flag=True, help="Replace dataset file and table that are there already.")
@debug_option
def init(
    folder: Path,
    out: Path | None,
    name: str | None,
    value_range: tuple[float, float] | None,
    window: tuple[float, float] | None,
    source: str | None,
    target: str | None,
    series: str | None,
    force: bool,
) -> None:
    """Propose a dataset file and its table for the images in FOLDER.

    Reads BIDS-like and other NIfTI, DICOM by series, PNG, TIFF, NPY and NPZ folders, HDF5 and zarr. What no file says
    stays open; what is concluded from names is called a guess.
    """
    from medgan_qa.cohorts.proposal import Wishes, propose

    _require_one_range(value_range, window)
    place = out or folder / "dataset.toml"
    table = place.with_name("cases.csv" if place.name == "dataset.toml" else f"{place.stem}.csv")
    _require_above(place, folder)
    _require_free((place, table), force=force)
    proposal = propose(folder, Wishes(value_range, window, source, target, series))
    _write(proposal, place, table, name or _name(folder))
    _tell(proposal, place, table)


def _require_one_range(value_range: tuple[float, float] | None, window: tuple[float, float] | None) -> None:
    both = value_range is not None and window is not None
    bad = next((pair for pair in (value_range, window) if pair is not None and not pair[0] < pair[1]), None)
    if both or bad is not None:
        raise ConfigurationError(
            "The range of the stored numbers cannot be used.",
            expected="--value-range LOW HIGH or --window LOW HIGH, with LOW below HIGH",
            found="both" if both else f"{bad}",
            where="--value-range, --window",
            todo="Give one: a window if numbers beyond it shall be clipped.",
        )


def _require_above(place: Path, folder: Path) -> None:
    if not folder.resolve().is_relative_to(place.parent.resolve()):
        raise ConfigurationError(
            "The dataset file cannot lie there.",
            expected="the folder of the images, or one above it: what a table names lies below its dataset file",
            found="another folder",
            where="--out",
            todo="Leave --out away, or name a file above the images.",
        )


def _require_free(files: tuple[Path, Path], *, force: bool) -> None:
    there = [file.name for file in files if file.exists()]
    if there and not force:
        raise OutputError(
            "There is a dataset already.",
            expected="a folder without these files",
            found=", ".join(there),
            where="--out",
            todo="Name another file with --out, or replace them with --force.",
        )


def _name(folder: Path) -> str:
    """The folder's name, unless it looks like an identifier."""
    from medgan_qa.cohorts.pseudonyms import looks_direct

    name = folder.resolve().name
    return "unnamed dataset" if not name or looks_direct(name) else name


def _write(proposal: Proposal, place: Path, table: Path, name: str) -> None:
    from medgan_qa.cohorts.proposal import description, rows_text
    from medgan_qa.report.files import replace_file

    # The table first: a dataset file never names one that is not there.
    replace_file(table, rows_text(proposal, place.parent).encode("utf-8", "surrogateescape"))
    replace_file(place, description(proposal, name, table.name).encode())


def _tell(proposal: Proposal, place: Path, table: Path) -> None:
    limits = proposal.span.limits
    span = "open" if limits is None else f"{limits[0]:g} to {limits[1]:g}"
    left = [f"{number} {reason}" for reason, number in proposal.left_out.most_common()]
    sections = {
        "Understood": [f"{proposal.layout}, {len(proposal.rows)} row(s)", *proposal.understood],
        "Guessed, to be checked": [*proposal.guessed, *_guessed_range(proposal, span)],
        "To be filled in": [*proposal.to_fill_in, *_open(proposal)],
        "Left out": left,
    }
    click.echo(f"Written: {place.name} and {table.name}")
    for heading, lines in sections.items():
        if lines:
            click.echo(f"{heading}:")
        for line in lines:
            click.echo(f"  - {line}")
    click.echo(f"Next: medgan-qa data check {place.name}")


def _guessed_range(proposal: Proposal, span: str) -> list[str]:
    if proposal.span.limits is None or proposal.span.reason == "as given":
        return []
    kind = "window" if proposal.span.windowed else "value_range"
    return [f"{kind} {span}: {proposal.span.reason}"]


def _open(proposal: Proposal) -> list[str]:
    lines = [] if proposal.span.limits else [f"value_range or window: {proposal.span.reason}"]
    if not proposal.spacing_known:
        lines.append("spacing_mm: not every file carries the distance of its pixels")
    if any(row.get("lesion_mask") for row in proposal.rows):
        lines.append("lesion_in: in which of the images lesions can be seen")
        lines.append("annotated: true for cases without a mask in which somebody looked and found no lesion")
    return lines


@command.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write findings, table and thumbnails as a page too.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
@click.option("--partition", type=click.Choice(["train", "val", "test"]), help="Read the cases of one partition [all].")
@click.option("--sheet", type=click.Path(path_type=Path), help="The contact sheet [NAME-check.png beside DATA].")
@debug_option
def check(data: Path, html: Path | None, as_json: bool, partition: Partition | None, sheet: Path | None) -> int:
    """Report everything that is wrong with the dataset DATA, and show what was understood.

    Every image is read once. Ends with 0 if the data can be used and with 2 if not; warnings do not change that. A
    contact sheet of the cases is written beside the dataset file.
    """
    from medgan_qa.cli._data_showing import show
    from medgan_qa.cohorts.checking import check_dataset, contact_sheet, page
    from medgan_qa.cohorts.description import locate
    from medgan_qa.report.files import replace_file

    place = locate(data)
    with progress_bar() as progress:
        checked = check_dataset(place, partition, lambda done, total: progress("Reading the cases", done, total))
    picture = contact_sheet(checked)
    written = []
    if picture is not None:
        sheet = sheet or place.with_name(f"{place.stem}-check.png")
        replace_file(sheet, picture)
        written.append(sheet)
    if html is not None:
        replace_file(html, page(checked, picture).encode())
        written.append(html)
    if as_json:
        click.echo(json.dumps(checked.as_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show(checked, written)
    return 2 if checked.errors else 0


@command.command("names")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, required=True)
@debug_option
def names(data: Path, names: tuple[str, ...]) -> int:
    """Tell what the pseudonyms NAMES stand for in the dataset DATA: identifiers, row and files.

    Only where the key is that they were made with. What is printed is the real thing: do not pipe it into a report.
    """
    from medgan_qa.cohorts.checking.names import meanings

    found = meanings(data, names)
    for name, lines in found.items():
        click.echo(f"{name}:")
        for line in lines or ["not of this dataset, or made with another key"]:
            click.echo(f"  {line}")
    return 0 if all(found.values()) else 2
