"""HYG-004: a loader that augments is found by its effect, by its files and by its transforms; a faithful one is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits._partitions import partition
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.unstable_loading import shuffled, unstable_loading
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.loaders import loader_of
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.cohorts.pseudonyms import protected
from medgan_qa.controls.contaminated import Contaminated
from medgan_qa.controls.planted_loaders import FAULTS, Fault, PlantedSet, planted_loader
from medgan_qa.engines import LocalEngine


@dataclass
class Run:
    cohort: Any
    shared: dict[str, Any]
    engine: LocalEngine
    seed: int = 0


@cache
def brains(people: int = 8) -> BrainSlices:
    cohort = BrainSlices(people=people)
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def audit(cohort: Any = None, loader: Any = None, **parameters: Any) -> Findings:
    shared = {} if loader is None else {"loader": loader}
    return unstable_loading(Run(cohort or brains(), shared, LocalEngine()), **parameters)


def values(findings: Findings) -> dict[str, float | None]:
    return {e.measurement.id.removeprefix("HYG-004."): e.measurement.value for e in findings.estimates}


TESTS = 16


def test_a_steady_cohort_without_a_loader_is_clean_and_what_was_not_looked_at_is_said() -> None:
    findings = audit()
    assert values(findings) == {"augmented_on_reading": 0, "changed_images": 0}
    assert findings.rows == []
    assert findings.exhibits == []
    assert "--loader" in findings.notes[0]


def test_images_that_change_from_one_reading_to_the_next_are_found_and_named() -> None:
    cohort = Contaminated(brains(), "unstable", 0.2)
    findings = audit(cohort)
    assert values(findings)["changed_images"] == values(findings)["augmented_on_reading"] == len(cohort.source) == 3
    assert {row["case_id"]: row["read_again"] for row in findings.rows} == dict.fromkeys(
        sorted(cohort.source), "flip left-right"
    )
    assert len(findings.exhibits[0].data["cases"]) == 3


def test_a_target_that_changes_is_found_as_well() -> None:
    class Flickering(BrainPhantoms):
        read = 0

        def load(self, case: Case) -> Any:
            self.read += 1
            images = super().load(case)
            assert images.target is not None
            return replace(images, target=images.target + 0.1 * (self.read % 3 == 1))

    findings = audit(Flickering(people=3))
    assert values(findings)["changed_images"] > 0  # type: ignore[operator]
    assert all(row["read_again"].startswith("of the target") for row in findings.rows)


@pytest.mark.parametrize("fault", ["none", "normalised"])
def test_a_faithful_loader_is_clean(fault: Fault) -> None:
    findings = audit(loader=planted_loader(brains(), fault))
    assert set(values(findings).values()) == {0}
    assert findings.rows == []
    assert (
        findings.notes[0]
        == f"{TESTS} items were read through the loader; {TESTS} of {TESTS} test cases are among them."
    )


FOUND: dict[Fault, tuple[str, str]] = {
    "flip": ("loader_changed_images", "flip left-right"),
    "seeded flip": ("loader_altered_images", "flip left-right"),
    "always flipped": ("loader_altered_images", "flip left-right"),
    "noise": ("loader_changed_images", "noise or smoothing"),
    "seeded noise": ("loader_altered_images", "noise or smoothing"),
    "rotation": ("loader_changed_images", "noise or smoothing"),
    "shift": ("loader_changed_images", "shift"),
    "crop": ("loader_changed_images", "shift"),
}


@pytest.mark.parametrize("fault", FOUND)
def test_every_planted_fault_is_found_and_named(fault: Fault) -> None:
    findings = audit(loader=planted_loader(brains(), fault))
    name, words = FOUND[fault]
    found = values(findings)
    assert found["changed_images"] == 0
    assert found[name] >= 0.3 * TESTS  # type: ignore[operator]
    assert found["augmented_on_reading"] >= 0.3 * TESTS  # type: ignore[operator]
    if "seeded" in fault or "always" in fault:
        assert found["loader_changed_images"] == 0
    column = "loader_again" if name == "loader_changed_images" else "loader_against_file"
    assert any(words in row[column] for row in findings.rows)
    assert len(findings.exhibits) >= 1
    for content in findings.arrays.values():
        assert content["output"].shape == content["reference"].shape
        assert 0 <= content["output"].min() <= content["output"].max() <= 1
    assert set(FOUND) == set(FAULTS) - {"none", "normalised"}


def declaring(augmentation: str | None) -> Any:
    class Declared:
        description = SimpleNamespace(augmentation=augmentation)

        def __getattr__(self, name: str) -> Any:
            return getattr(brains(), name)

    return Declared()


def test_a_declaration_that_nothing_is_augmented_is_held_against_the_loader() -> None:
    broken = audit(declaring("none"), planted_loader(brains(), "flip"))
    assert values(broken)["broken_declarations"] == 1
    assert 'declares augmentation = "none"' in broken.notes[0]
    kept = audit(declaring("none"), planted_loader(brains(), "none"))
    assert values(kept)["broken_declarations"] == 0
    assert not any("declares" in note for note in kept.notes)
    undeclared = audit(declaring(None), planted_loader(brains(), "flip"))
    assert "broken_declarations" not in values(undeclared)
    assert values(undeclared)["augmented_on_reading"] > 0  # type: ignore[operator]


class Seeded:
    """As a Dataset of a team: a random transform whose generator is seeded by the index, so that two passes agree."""

    def __init__(self, transform: Any) -> None:
        self.images, self.transform = PlantedSet(brains(), "none"), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> Any:
        torch = pytest.importorskip("torch")
        torch.manual_seed(k)
        item = self.images[k]
        return {"case_id": item["case_id"], "image": self.transform(torch.from_numpy(item["image"]))}


def test_a_loader_that_seeds_itself_is_caught_by_its_files_and_by_its_transforms() -> None:
    T = pytest.importorskip("torchvision.transforms")
    findings = audit(loader=loader_of(lambda: Seeded(T.Compose([T.RandomHorizontalFlip(p=0.5)]))))
    found = values(findings)
    assert found["loader_changed_images"] == 0
    assert 3 <= found["loader_altered_images"] <= 13  # type: ignore[operator]
    assert found["random_transforms"] == 1
    assert found["augmented_on_reading"] == TESTS
    assert any("loader.transform.transforms[0]: RandomHorizontalFlip(p=0.5)" in note for note in findings.notes)


def test_a_random_transform_that_leaves_every_image_alone_is_told_and_one_that_is_off_is_not() -> None:
    T = pytest.importorskip("torchvision.transforms")
    rare = audit(loader=loader_of(lambda: Seeded(T.RandomHorizontalFlip(p=1e-9))))
    assert values(rare)["loader_altered_images"] == 0
    assert values(rare)["augmented_on_reading"] == TESTS
    off = audit(loader=loader_of(lambda: Seeded(T.RandomHorizontalFlip(p=0))))
    assert set(values(off).values()) == {0}


def test_a_transform_for_training_is_left_out_only_where_that_is_declared() -> None:
    T = pytest.importorskip("torchvision.transforms")

    class Both(PlantedSet):
        transforms = {"train": T.RandomHorizontalFlip(), "test": None}  # noqa: RUF012

    loader = loader_of(lambda: Both(brains(), "none"))
    assert values(audit(loader=loader))["augmented_on_reading"] == TESTS
    declared = audit(loader=loader, not_applied="loader.transforms['train']")
    assert set(values(declared).values()) == {0}
    assert any("declares to be for other images: loader.transforms['train']" in note for note in declared.notes)


def handing_out(change: Callable[[int, Any], Any], named: bool = True) -> Any:
    items = [PlantedSet(brains(), "none")[k] for k in range(TESTS)]
    if named:
        return loader_of(lambda: [{**item, "image": change(k, item["image"])} for k, item in enumerate(items)])
    return loader_of(lambda: [change(k, item["image"]) for k, item in enumerate(items)])


def test_what_is_done_to_every_image_alike_is_preprocessing_only_where_it_is_accepted() -> None:
    transposed = handing_out(lambda k, image: np.swapaxes(image, 1, 2))
    findings = audit(loader=transposed)
    assert set(values(findings).values()) == {0}
    assert any("every image as: transpose" in note for note in findings.notes)
    assert values(audit(loader=transposed, accepted=""))["loader_altered_images"] == TESTS
    some = handing_out(lambda k, image: np.swapaxes(image, 1, 2) if k % 3 else image)
    assert values(audit(loader=some))["loader_altered_images"] == TESTS - 6
    cropped = handing_out(lambda k, image: image[:, 4:60, 4:60])
    assert values(audit(loader=cropped))["loader_altered_images"] == TESTS
    assert values(audit(loader=cropped, accepted="crop"))["loader_altered_images"] == 0
    drifting = handing_out(lambda k, image: image[:, k % 2 : 60 + k % 2, 4:60])
    assert values(audit(loader=drifting, accepted="crop"))["loader_altered_images"] == TESTS


def test_another_contrast_is_counted_apart() -> None:
    findings = audit(loader=handing_out(lambda k, image: np.clip(image, 0, 1) ** 1.3))
    assert values(findings)["loader_contrast_images"] == TESTS
    assert values(findings)["augmented_on_reading"] == 0


def test_items_without_a_name_are_taken_in_the_order_of_the_table() -> None:
    findings = audit(loader=handing_out(lambda k, image: image[..., ::-1] if k == 3 else image, named=False))
    assert values(findings)["loader_altered_images"] == 1
    assert findings.rows[0]["case_id"] == [c for c in brains().cases if c.partition == "test"][3].case_id
    assert any("carry no case id" in note for note in findings.notes)


def test_an_order_that_changes_is_no_augmentation() -> None:
    times = [0]

    def build() -> Any:
        times[0] += 1
        items = [PlantedSet(brains(), "none")[k]["image"] for k in range(TESTS)]
        yield from np.random.default_rng(times[0]).permutation(np.stack(items))

    findings = audit(loader=loader_of(build))
    assert values(findings)["loader_changed_images"] == 0
    assert any("order changes" in note for note in findings.notes)


def test_names_that_the_dataset_does_not_know_are_not_printed() -> None:
    items = [(f"DOE^JOHN {k}", PlantedSet(brains(), "none")[k]["image"]) for k in range(4)]
    findings = audit(loader=loader_of(lambda: [(n, i + 0.01 * np.random.default_rng().random()) for n, i in items]))
    assert "4 items are no case that the dataset knows" in " ".join(findings.notes)
    assert "DOE" not in repr(findings)


def test_names_are_matched_with_the_pseudonyms_that_stand_for_them() -> None:
    class Protected:
        cases = tuple(protected(brains().cases, "direct"))

        def load(self, case: Case) -> Any:
            return brains().load(brains().cases[self.cases.index(case)])

        def __getattr__(self, name: str) -> Any:
            return getattr(brains(), name)

    findings = audit(Protected(), planted_loader(brains(), "always flipped"))
    assert values(findings)["loader_altered_images"] == TESTS
    assert all(row["case_id"].startswith("C-") for row in findings.rows)


def test_cases_of_other_partitions_are_left_out() -> None:
    items = [{"case_id": case.case_id, "image": brains().load(case).image} for case in brains().cases]
    findings = audit(loader=loader_of(lambda: items))
    assert set(values(findings).values()) == {0}
    assert any("other partitions" in note for note in findings.notes)


def test_one_case_is_enough() -> None:
    findings = audit(BrainSlices(people=1), planted_loader(BrainSlices(people=1), "always flipped"))
    assert values(findings)["augmented_on_reading"] == 2


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=12), st.integers(0, 5))
def test_prop_another_order_keeps_every_case_once_and_volumes_together(volumes: list[str], seed: int) -> None:
    cases = tuple(
        Case(f"c{k}", "p", "test", False, False, False, volume=volume or None) for k, volume in enumerate(volumes)
    )
    order = shuffled(cases, seed)
    assert sorted(case.case_id for case in order) == sorted(case.case_id for case in cases)
    for volume in {v for v in volumes if v}:
        places = [k for k, case in enumerate(order) if case.volume == volume]
        assert places[-1] - places[0] == len(places) - 1


def test_the_first_reading_is_shared_with_the_other_audits_of_the_partitions() -> None:
    run = Run(brains(), {}, LocalEngine())
    partition(run, "test")
    before = set(run.shared)
    unstable_loading(run)
    assert set(run.shared) == before


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("HYG-004", "", unstable_loading).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
