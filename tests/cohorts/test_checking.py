"""A check of a dataset: every fault is found, counted and told by row or case, and sound data has none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medgan_qa import rng
from medgan_qa.cohorts.checking import Checked, check_dataset, contact_sheet, page
from medgan_qa.cohorts.checking.burned_in import text_rows
from medgan_qa.cohorts.checking.findings import most
from medgan_qa.cohorts.checking.names import meanings
from medgan_qa.cohorts.checking.thumbnails import outlined
from medgan_qa.cohorts.phantom import draw_cohort
from medgan_qa.cohorts.phantom_render import render


def kinds(checked: Checked) -> dict[str, int]:
    return {one.kind: one.count for one in checked.findings}


@pytest.fixture
def sound(on_disk: Any) -> Any:
    """A dataset without a fault: distinct patients, spacing declared."""
    on_disk.content["spacing_mm"] = [0.9, 0.9]
    for number, row in enumerate(on_disk.rows):
        row["patient_id"], row["annotated"] = f"p{number}", "true"
    return on_disk


def test_sound_data_has_no_finding(sound: Any) -> None:
    seen: list[tuple[int, int]] = []
    checked = check_dataset(sound.save(), None, lambda done, total: seen.append((done, total)))
    assert kinds(checked) == {}
    assert seen[-1] == (4, 4)
    test = next(facts for facts in checked.partitions if facts.partition == "test")
    assert (test.cases, test.patients, test.lesions, test.targets) == (3, 3, 1, 3)
    assert test.sizes == ("12 x 10",)
    assert test.spacing_mm == (0.9, 0.9, 0.9, 0.9)
    assert json.loads(json.dumps(checked.as_dict()))["usable"] is True


def test_faults_of_every_part_are_told_at_once(sound: Any) -> None:
    sound.rows += [dict(sound.rows[0]), {**sound.rows[0], "case_id": "x", "partition": "tset"}]
    sound.rows += [{**sound.rows[1], "case_id": "gone", "image": "images/gone.npy"}]
    path = sound.save()
    np.save(sound.path("images/t1_1.npy"), np.full((12, 10), 900.0))
    np.save(sound.path("images/flair_3.npy"), np.zeros((5, 5)))
    sound.path("images/t1_2.npy").write_bytes(b"no array")
    checked = check_dataset(path)
    found = kinds(checked)
    assert found.items() >= {"table": 2, "missing-file": 1, "out-of-range": 1, "other-grid": 1}.items()
    assert found["unreadable-file"] == 1
    assert "unlisted-file" not in found
    told = {one.kind: one.offenders[0] for one in checked.errors}
    assert told["missing-file"].startswith("row 8, column image")
    assert "row 3, column image" in told["out-of-range"]
    assert "row 5, column target" in told["other-grid"]


def test_a_wrong_description_does_not_hide_the_table(sound: Any) -> None:
    sound.content["colour"] = "grey"
    sound.rows[0]["partition"] = "tset"
    checked = check_dataset(sound.save())
    assert [one.kind for one in checked.errors] == ["description", "table"]
    assert not checked.complete
    assert contact_sheet(checked) is None


def test_no_range_is_an_error_and_no_image_is_looked_at(sound: Any) -> None:
    del sound.content["value_range"]
    checked = check_dataset(sound.save())
    assert kinds(checked) == {"no-range": 1}
    assert not checked.complete


def constant(data: Any) -> None:
    data.images["images/t1_1.npy"] = np.full((12, 10), 7, np.uint8)


def empty_mask(data: Any) -> None:
    data.images["masks/0.npy"] = np.zeros((12, 10), np.uint8)


def full_mask(data: Any) -> None:
    data.images["masks/0.npy"] = np.ones((12, 10), np.uint8)


def same_image(data: Any) -> None:
    data.images["images/t1_1.npy"] = data.images["images/t1_0.npy"]


def shared_patient(data: Any) -> None:
    data.rows[2]["patient_id"] = "p0"


def no_test(data: Any) -> None:
    for row in data.rows:
        row["partition"] = "train"


def hounsfield(data: Any) -> None:
    data.content.pop("value_range")
    data.content["window"] = [-1024, 3071]


def narrow(data: Any) -> None:
    data.content["value_range"] = [0, 65535]


def metres(data: Any) -> None:
    data.content["spacing_mm"] = [0.0009, 0.0009]


def no_spacing(data: Any) -> None:
    del data.content["spacing_mm"]


def unlisted(data: Any) -> None:
    data.images["more/a.npy"] = np.zeros((12, 10), np.uint8)


@pytest.mark.parametrize(
    ("plant", "kind", "is_error"),
    [
        (constant, "constant-image", False),
        (empty_mask, "empty-mask", False),
        (full_mask, "full-mask", False),
        (same_image, "same-image", False),
        (shared_patient, "shared-patients", False),
        (no_test, "no-test", True),
        (hounsfield, "not-hounsfield", True),
        (narrow, "narrow-range", False),
        (metres, "spacing-unit", False),
        (no_spacing, "no-spacing", False),
        (unlisted, "unlisted-file", False),
    ],
)
def test_a_planted_fault_is_found_and_nothing_else(
    sound: Any, plant: Callable[[Any], None], kind: str, is_error: bool
) -> None:
    plant(sound)
    checked = check_dataset(sound.save())
    assert list(kinds(checked)) == [kind]
    assert bool(checked.errors) is is_error


def test_spacing_outliers_are_told_against_the_median(sound: Any, tmp_path: Path) -> None:
    del sound.content["spacing_mm"]
    sound.images = {name.replace(".npy", ".nii"): array for name, array in sound.images.items()}
    for row in sound.rows:
        row.update({c: str(row[c]).replace(".npy", ".nii") for c in ("image", "target", "lesion_mask")})
    sound.spacing = dict.fromkeys(sound.images, (0.9, 0.9))
    sound.spacing |= {f"images/{kind}_3.nii": (900.0, 900.0) for kind in ("t1", "flair")}
    [found] = [one for one in check_dataset(sound.save()).findings if one.kind == "spacing-outlier"]
    assert found.offenders == ("003: 900 x 900 mm",)


def test_dicom_that_declares_text_is_warned_of(sound: Any, write_dicom: Callable[..., Path]) -> None:
    path = sound.save()
    for number, tags in enumerate([{"BurnedInAnnotation": "YES"}, {"Modality": "US"}, {"BurnedInAnnotation": "NO"}]):
        array = np.asarray(sound.images[f"images/t1_{number}.npy"])
        write_dicom(
            sound.path(f"images/t1_{number}.dcm"), array, (0.9, 0.9), Modality=tags.pop("Modality", "MR"), **tags
        )
        sound.path(f"images/t1_{number}.npy").unlink()
    table = sound.path("cases.csv")
    text = table.read_text()
    for number in range(3):
        text = text.replace(f"t1_{number}.npy", f"t1_{number}.dcm")
    table.write_text(text)
    found = {one.kind: one.offenders for one in check_dataset(path).warnings}
    # The writer makes secondary captures; a header that says NO is believed.
    assert found == {"burned-in-annotation": ("000",), "burned-in-modality": ("001 (US)",)}


def test_one_partition_can_be_read_alone(sound: Any) -> None:
    np.save(sound.path("x.npy"), np.zeros(3))
    path = sound.save()
    sound.path("images/t1_2.npy").write_bytes(b"no array")
    assert not check_dataset(path, "test").errors
    assert check_dataset(path, "train").errors


def test_identifiers_that_look_direct_are_not_shown(sound: Any) -> None:
    sound.rows[2]["patient_id"] = sound.rows[0]["patient_id"] = "DOE^JOHN"
    sound.rows[1]["case_id"] = "Doe, John"
    sound.images["images/t1_1.npy"] = np.full((12, 10), 7, np.uint8)
    checked = check_dataset(sound.save())
    text = json.dumps(checked.as_dict()) + page(checked, None)
    assert "doe" not in text.lower()
    [flat] = [one for one in checked.findings if one.kind == "constant-image"]
    [name] = flat.offenders
    [shared] = [one for one in checked.findings if one.kind == "shared-patients"]
    patient = shared.offenders[0].partition(":")[0]
    found = meanings(sound.path("dataset.toml"), [name, patient, "P-00000000"])
    assert "case Doe, John" in found[name][0]
    assert "image: images/t1_1.npy" in found[name]
    assert [line.partition(":")[0] for line in found[patient]] == ["row 2", "row 4"]
    assert found["P-00000000"] == []


def test_the_sheet_shows_every_partition_and_the_page_holds_it(sound: Any) -> None:
    checked = check_dataset(sound.save())
    assert [(one.partition, one.name) for one in checked.thumbnails] == [
        ("train", "002"),
        ("test", "000"),
        ("test", "001"),
        ("test", "003"),
    ]
    sheet = contact_sheet(checked)
    assert sheet is not None
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.size[0] > 1000
    html = page(checked, sheet)
    assert "data:image/png;base64," in html
    assert "http" not in html.replace("<!doctype html>", "")


def test_the_outline_hides_nothing_of_the_lesion() -> None:
    picture = np.full((40, 40), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 12:25] = True
    drawn = outlined(picture, mask)
    assert (drawn[mask] == 100).all()
    assert (drawn != 100).any()


def test_counts_in_one_line() -> None:
    assert most({"a": 1, "b": 3, "c": 2, "d": 1}) == "b (3), c (2), a (1), 1 more"


# Text in the pixels


def written(image: NDArray[np.float32], height: int) -> NDArray[np.float32]:
    from PIL import ImageDraw, ImageFont

    picture = Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8))
    ImageDraw.Draw(picture).text((4, 4), "DOE JOHN 1948", fill=255, font=ImageFont.load_default(height))
    return np.asarray(picture, np.float32) / np.float32(255)


@pytest.mark.parametrize("contrast", ["T1", "FLAIR", "CT"])
def test_drawn_text_is_found_and_anatomy_is_not(contrast: str) -> None:
    images = [render(spec, contrast, 256) for spec in draw_cohort(3, "test", 6)]
    assert sum(bool(text_rows(written(image, 12))) for image in images) >= 11
    assert not any(text_rows(image) for image in images)


def test_noise_flat_and_tiny_images_hold_no_text() -> None:
    g = rng.child(0, "noise")
    assert not any(text_rows(g.normal(size=(128, 128))) for _ in range(10))
    assert text_rows(np.zeros((64, 64))) == []
    assert text_rows(g.normal(size=(16, 16))) == []


def test_text_is_found_whatever_the_range() -> None:
    image = written(render(draw_cohort(3, "test", 1)[0], "T1", 256), 14)
    assert text_rows(image) == text_rows(image * 4095 - 1024)


def test_text_in_the_middle_is_not_looked_for() -> None:
    image = np.zeros((256, 256), np.float32)
    moved = np.roll(written(image, 12), (120, 80), (0, 1))
    assert text_rows(written(image, 12))
    assert text_rows(moved) == []
