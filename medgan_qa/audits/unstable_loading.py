"""HYG-004: images that change while they are loaded, or that a loader augments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._loaded import SHOWN, Seen, read_loader
from medgan_qa.audits._loading_words import Loading, Reread, said, show
from medgan_qa.audits._partitions import PartitionedRun, partition, pixel_digest
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import count
from medgan_qa.audits.run import grey
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.loaders import Loader
from medgan_qa.cohorts.pipelines import inspect_pipeline
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.image_change import image_change

CODE = "HYG-004"
TRIES = 3
"""Times that an image which changed is read again, so that the change can be named."""
NO_LOADER = (
    "No loader was given (--loader package.module:build), so this speaks of the dataset's own reader alone: what the "
    "team's code does to an image after reading it was not looked at."
)

Float = NDArray[np.float32]


def unstable_loading(
    run: PartitionedRun,
    *,
    accepted: str = "transpose, resized",
    not_applied: str = "",
    worst: int = 8,
) -> Findings:
    """Augmentation while the test partition is loaded.

    Question. Is a test image the same whenever and however it is read, and the same as its file?

    What it measures. Every test image is read twice, the second time in another order, and the digests of its pixels
    are compared. Where the team's own loader is given (--loader), it is read twice as it is and once in another order,
    and its images are compared with each other and with the files as the dataset reads them: in place, up to gain and
    offset. A flip, a turn, a shift, a crop, another size, another contrast and noise are named. What the loader does to
    every image alike, of the kinds named in `accepted`, is taken as its preprocessing and not counted. The transforms
    that can be reached from the loader are listed, and those that are random told. Counted are test images that change,
    are altered, or pass a random transform; of a dataset that declares `augmentation = "none"` also whether that holds.
    A transform that can be reached and is not applied to test images, such as one that the same object holds for
    training, is left out where `not_applied` names the beginning of its path.

    Why it matters. Augmentation that is on by mistake in the code that reads the test images makes them images that no
    scanner made, exchanges left and right, and gives other numbers in every run. The files do not show it, a
    configuration that says otherwise does not prevent it, and a seed makes it look stable.

    Known limits. The loader is that which was given: another one may have been used in the development. A random
    transform with a small probability may leave every image alone in three readings; the list of transforms shows it.
    A transform that is reached through code which is not understood is found by its effect alone; where code names a
    source of random numbers, that is said. A change that is a rising map of grey levels is not told from fixed
    preprocessing and counted apart. Rotations by a small angle and scales are told as noise or smoothing. Lesion masks
    are not compared.

    Method and source. SHA-256 of decoded pixels. Images are compared by the share of variance left over after the best
    gain and offset, under the eight orientations of the square, and at the best whole-pixel place (Padfield 2012).
    Transforms are told random by their classes (MONAI `Randomizable`, TorchIO `RandomTransform`, torchvision,
    albumentations) and are off at probability 0. J. Reinhold, Y. Shrestha, "A technical and regulatory perspective on
    generative adversarial networks in medical devices" (2021): switch augmentation off on the test partition.
    """
    findings = Findings()
    test = partition(run, "test")
    assert test is not None
    reread = _reread(run)
    loader = run.shared.get("loader")
    loading = None if loader is None else _loading(run, loader, accepted, not_applied)
    by_loader = set() if loading is None else loading.suspects
    cases = {case.case_id: case for case in test.cases}
    own = {} if loading is None else {k: case.case_id for k, case in loading.loaded.cases.items()}
    found = {*reread.changed, *(own.get(key, key) for key in by_loader)}
    findings.estimates = [
        _count(
            "augmented_on_reading",
            "Test images that change, are altered or pass a random transform while they are read",
            len(found),
            len(cases) + len(found - cases.keys()),
        ),
        _count("changed_images", "Test images that differ when they are read again", len(reread.changed), len(cases)),
    ]
    if loading is not None:
        findings.estimates += _of_loader(loading)
    findings.estimates += _declared(run, bool(found))
    findings.rows = [_row(key, cases, reread, loading, own) for key in sorted(found)]
    findings.notes = [NO_LOADER] if loading is None else said(loading, len(cases))
    if _says_none(run) and found:
        findings.notes.insert(0, 'The dataset declares augmentation = "none", and its test images are augmented.')
    show(findings, CODE, reread, loading, cases, worst)
    return findings


def _count(name: str, label: str, value: int, n: int, unit: str = "test image") -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis=unit, better="lower")


def _of_loader(loading: Loading) -> list[Estimate]:
    loaded, inspection = loading.loaded, loading.inspection
    compared = len(loaded.compared)
    return [
        _count(
            "loader_changed_images",
            "Images of the loader that differ between readings",
            len(loaded.changed),
            loaded.items,
            "item of the loader",
        ),
        _count(
            "loader_altered_images", "Images of the loader that are not their file's", len(loading.altered), compared
        ),
        _count(
            "loader_contrast_images",
            "Images of the loader with another contrast than their file's",
            len(loading.contrast),
            compared,
        ),
        _count(
            "random_transforms",
            "Random transforms in the loader",
            len(inspection.random),
            len(inspection.random) + len(inspection.fixed),
            "transform",
        ),
    ]


def _says_none(run: PartitionedRun) -> bool:
    description = getattr(run.cohort, "description", None)
    return getattr(description, "augmentation", None) == "none"


def _declared(run: PartitionedRun, augmented: bool) -> list[Estimate]:
    if not _says_none(run):
        return []
    label = 'Declarations that nothing is augmented (augmentation = "none") that do not hold'
    return [_count("broken_declarations", label, int(augmented), 1, "declaration")]


def _reread(run: PartitionedRun) -> Reread:
    """The second reading, in another order; slices of one volume stay together, as they are read together."""
    test = partition(run, "test")
    assert test is not None
    reread, first = Reread(), dict(zip(test.names, zip(test.digests, test.target_digests, strict=True), strict=True))

    def look(case: Case) -> None:
        images = run.cohort.load(case)
        target = None if images.target is None else pixel_digest(images.target)
        if (pixel_digest(images.image), target) != first[case.case_id]:
            image = pixel_digest(images.image) != first[case.case_id][0]
            reread.changed[case.case_id] = _changed(run, reread, case, image, images)

    run.engine.map(look, shuffled(test.cases, run.seed), label="Reading test images again, in another order")
    return reread


def shuffled(cases: tuple[Case, ...], seed: int) -> list[Case]:
    """Cases in another order: volumes in a drawn order, and the slices of each in one of their own."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(f"volume {case.volume}" if case.volume is not None else f"case {case.case_id}", []).append(
            case
        )
    g = rng.child(seed, CODE, "order")
    names = list(groups)
    return [groups[names[k]][j] for k in g.permutation(len(names)) for j in g.permutation(len(groups[names[k]]))]


def _picture(images: CaseImages, is_image: bool) -> Float:
    """(H, W) of the image or the target."""
    if is_image:
        return grey(images.image)
    return np.zeros((1, 1), np.float32) if images.target is None else grey(images.target)


def _changed(run: PartitionedRun, reread: Reread, case: Case, is_image: bool, images: CaseImages) -> str:
    """What gives this reading from the next ones that differ from it."""
    which = "" if is_image else "of the target: "
    one = _picture(images, is_image)
    for _ in range(TRIES if len(reread.seen) < SHOWN else 0):
        other = _picture(run.cohort.load(case), is_image)
        if np.isfinite(one).all() and np.isfinite(other).all() and not np.array_equal(one, other):
            change = image_change(one, other)
            reread.seen.append(Seen(case.case_id, change, one, other))
            return which + change.words
    return f"{which}changed"


def _loading(run: PartitionedRun, loader: Loader, accepted: str, not_applied: str) -> Loading:
    loaded = read_loader(run, loader)
    allowed = _split(accepted)
    moved = {k: c for k, c in loaded.compared.items() if not c.in_place}
    contrast = {k: c for k, c in loaded.compared.items() if c.kind == "gamma or clipping"}
    alike = {_without_contrast(c.words) for c in loaded.compared.values()}
    kinds = {kind for c in moved.values() for kind in c.kind.split(", ")} - {"brightness or contrast"}
    fixed = bool(moved) and len(alike) == 1 and kinds <= allowed
    inspection = inspect_pipeline(loader.built)
    idle = [found for found in inspection.random if found.path.startswith(tuple(_split(not_applied)))]
    inspection.random = [found for found in inspection.random if found not in idle]
    return Loading(loader, loaded, inspection, {} if fixed else moved, contrast, alike.pop() if fixed else "", idle)


def _split(text: str) -> set[str]:
    return {part.strip() for part in text.split(",") if part.strip()}


def _without_contrast(words: str) -> str:
    """The change without its gain and offset, which normalisation makes another one for every image."""
    return words.split("brightness or contrast")[0].rstrip(", ")


def _row(key: str, cases: dict[str, Case], reread: Reread, loading: Loading | None, own: dict[str, str]) -> Row:
    place = next((k for k, case_id in own.items() if case_id == key), key)
    altered = None if loading is None else loading.altered.get(key)
    return {
        "case_id": key,
        "patient_id": cases[key].patient_id if key in cases else None,
        "read_again": reread.changed.get(key, ""),
        "loader_again": "" if loading is None else loading.loaded.changed.get(place, ""),
        "loader_against_file": "" if altered is None else altered.words,
        "residual": None if altered is None else round(altered.residual, 5),
    }
