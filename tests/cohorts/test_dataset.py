from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts.cohort import Case, Cohort, from_unit, label_of, patients, subset, to_unit
from medgan_qa.cohorts.dataset import FileCohort, read_dataset
from medgan_qa.cohorts.readers import SUFFIXES
from medgan_qa.errors import DatasetError

Writer = Callable[..., Path]
OnDisk = Any  # tests.cohorts.conftest.DatasetOnDisk


def refusal(path: Path) -> DatasetError:
    """The error of reading a dataset, with every part of its message filled in."""
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    return complete(caught.value)


def load_refusal(cohort: FileCohort, case: Case) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        cohort.load(case)
    return complete(caught.value)


def complete(error: DatasetError) -> DatasetError:
    assert error.exit_code == 2
    assert all((error.problem, error.expected, error.found, error.where, error.todo))
    return error


def findings(error: DatasetError) -> list[str]:
    """The lines of an error that collects several problems."""
    assert error.found is not None
    return [line.strip() for line in error.found.splitlines()[1:]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_loads_in_unit_range(tmp_path: Path, on_disk: OnDisk, suffix: str) -> None:
    dataset = type(on_disk)(tmp_path, suffix)
    cohort = read_dataset(dataset.save())
    cohort.require_readable(None)
    images = cohort.load(cohort.cases[0])
    stored = dataset.images[f"images/t1_0{suffix}"]
    assert images.image.dtype == np.float32
    np.testing.assert_allclose(images.image[0], stored / 200.0, atol=1e-7)
    assert images.target is not None
    np.testing.assert_allclose(images.target[0], dataset.images[f"images/flair_0{suffix}"] / 200.0, atol=1e-7)
    assert images.lesion_mask is not None
    np.testing.assert_array_equal(images.lesion_mask, dataset.images[f"masks/0{suffix}"] > 0)
    assert images.spacing_mm == (1.0, 1.0)


def test_cases_carry_the_cells_of_their_row(on_disk: OnDisk) -> None:
    cohort: Cohort = read_dataset(on_disk.save())
    first, second, third, _ = cohort.cases
    assert first == Case("000", "007", "test", has_target=True, annotated=True, has_mask=True)
    assert (second.site, second.attributes, second.has_mask, second.annotated) == ("A", {"sex": "F"}, False, True)
    assert [case.case_id for case in subset(cohort.cases, "test")] == ["000", "001", "003"]
    assert patients(cohort.cases) == ("007", "008", "009")
    assert (cohort.name, cohort.value_range, cohort.phantom) == ("site-A test set", (0.0, 200.0), False)
    assert (cohort.source_domain, cohort.target_domain, cohort.lesion_in) == ("T1", "FLAIR", ("source", "target"))
    assert third.partition == "train"
    assert len({first, second, third}) == 3


def test_annotated_without_mask_is_lesion_free_and_unannotated_is_unknown(on_disk: OnDisk) -> None:
    cohort = read_dataset(on_disk.save())
    free, unknown = cohort.load(cohort.cases[1]).lesion_mask, cohort.load(cohort.cases[3]).lesion_mask
    assert free is not None
    assert free.shape == (12, 10)
    assert not free.any()
    assert unknown is None


def test_without_an_annotated_column_a_mask_means_annotated(on_disk: OnDisk) -> None:
    for row in on_disk.rows:
        del row["annotated"]
    assert [case.annotated for case in read_dataset(on_disk.save()).cases] == [True, False, False, False]


def test_a_folder_stands_for_its_one_dataset(on_disk: OnDisk) -> None:
    on_disk.save()
    on_disk.path("criteria.toml").write_text('schema = "medgan-qa/criteria/1"\n')
    on_disk.path("broken.toml").write_text("= 3")
    assert read_dataset(on_disk.folder).name == "site-A test set"
    on_disk.path("copy.toml").write_bytes(on_disk.path("dataset.toml").read_bytes())
    assert "copy.toml, dataset.toml" in str(refusal(on_disk.folder))


def test_paths_are_relative_to_the_toml_file_and_may_climb_no_higher(tmp_path: Path, on_disk: OnDisk) -> None:
    on_disk.save()
    below = tmp_path / "description"
    below.mkdir()
    for row in on_disk.rows:
        row.update({key: f"../{row[key]}" for key in ("image", "target", "lesion_mask") if row[key]})
    text = on_disk.save().read_text().replace('"cases.csv"', '"../cases.csv"')
    (below / "dataset.toml").write_text(text)
    error = refusal(below / "dataset.toml")
    assert len(findings(error)) == 9
    assert findings(error)[0] == "row 2, column image (t1_0.npy): leads out of the dataset's folder"
    for row in on_disk.rows:
        row.update({key: f"images/{row[key]}" for key in ("image", "target", "lesion_mask") if row[key]})
    read_dataset(on_disk.save()).require_readable(None)


@pytest.mark.parametrize("kind", ["file", "folder", "circle"])
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, on_disk: OnDisk, kind: str) -> None:
    inside, outside = tmp_path / "set", tmp_path / "elsewhere"
    dataset = type(on_disk)(inside)
    dataset.save()
    outside.mkdir()
    image = dataset.path("images/t1_1.npy")
    image.rename(outside / image.name)
    if kind == "folder":
        (inside / "linked").symlink_to(outside)
        dataset.rows[1]["image"] = f"linked/{image.name}"
    else:
        image.symlink_to(image if kind == "circle" else outside / image.name)
    del dataset.images["images/t1_1.npy"]
    error = refusal(dataset.save())
    what = "nothing there" if kind == "circle" else "leads out of the dataset's folder"
    assert findings(error) == [f"row 3, column image (t1_1.npy): {what}"]


def test_links_inside_the_folder_are_followed(on_disk: OnDisk) -> None:
    on_disk.save()
    on_disk.path("annex").mkdir()
    image = on_disk.path("images/t1_1.npy")
    image.rename(on_disk.path("annex/key"))
    image.symlink_to("../annex/key")
    read_dataset(on_disk.path("dataset.toml")).require_readable(None)


# Range and spacing


@given(
    low=st.floats(-1e5, 1e5),
    width=st.floats(1e-3, 1e5),
    share=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_prop_unit_range_inverts(low: float, width: float, share: list[float]) -> None:
    value_range = (low, low + width)
    stored = np.clip(low + width * np.array(share), *value_range)
    unit = to_unit(stored, value_range)
    assert unit.dtype == np.float32
    assert unit.min() >= 0
    assert unit.max() <= 1
    np.testing.assert_allclose(from_unit(unit, value_range), stored, rtol=0, atol=1e-6 * width + 1e-9)


def test_unit_range_maps_the_ends_and_clips_nothing() -> None:
    np.testing.assert_array_equal(to_unit([-1024.0, 988.0, 3000.0, 5012.0], (-1024.0, 3000.0)), [0, 0.5, 1, 1.5])


@pytest.mark.parametrize("column", ["image", "target"])
def test_numbers_outside_value_range_are_refused(on_disk: OnDisk, column: str) -> None:
    name = on_disk.rows[0][column]
    on_disk.images[name] = on_disk.images[name].astype(np.float32)
    on_disk.images[name][0, 0] = 200.19
    cohort = read_dataset(on_disk.save())
    assert cohort.load(cohort.cases[0]).image.max() <= 1.001
    on_disk.images[name][0, :2] = -0.3, 200.21
    on_disk.save()
    error = load_refusal(cohort, cohort.cases[0])
    assert error.where == f"cases.csv, row 2, column {column} ({Path(name).name})"
    assert error.problem == f"The {column} of case 000 holds numbers outside value_range"
    assert error.expected == "0 to 200"
    assert error.found == "-0.3 to 200.21"


def test_window_clips_first(on_disk: OnDisk) -> None:
    del on_disk.content["value_range"]
    on_disk.content["window"] = [50, 150]
    cohort = read_dataset(on_disk.save())
    stored = on_disk.images["images/t1_0.npy"]
    np.testing.assert_allclose(cohort.load(cohort.cases[0]).image[0], (np.clip(stored, 50, 150) - 50) / 100, atol=1e-6)
    assert cohort.value_range == (50, 150)
    assert cohort.describe()["window"] == [50, 150]
    assert "value_range" not in cohort.describe()


def test_missing_range_names_what_the_first_image_spans(on_disk: OnDisk) -> None:
    del on_disk.content["value_range"]
    stored = on_disk.images["images/t1_0.npy"]
    assert f"spans {stored.min()} to {stored.max()}" in str(refusal(on_disk.save()))


def test_constant_images_are_allowed(on_disk: OnDisk) -> None:
    on_disk.images["images/t1_0.npy"][:] = 100
    cohort = read_dataset(on_disk.save())
    assert np.unique(cohort.load(cohort.cases[0]).image).tolist() == [0.5]


def spaced(on_disk: OnDisk, write_file: Writer, carried: list[tuple[float, float]]) -> FileCohort:
    """The dataset with its first images as NIfTI files of the spacings given."""
    on_disk.save()
    for row, spacing in zip(on_disk.rows, carried, strict=False):
        stored = on_disk.images[row["image"]]
        row["image"] = row["image"].replace(".npy", ".nii.gz")
        write_file(on_disk.path(row["image"]), stored, spacing)
    return read_dataset(on_disk.save())


def test_spacing_comes_from_the_files(on_disk: OnDisk, write_file: Writer) -> None:
    cohort = spaced(on_disk, write_file, [(0.5, 0.75), (0.25, 1.5)])
    assert cohort.load(cohort.cases[0]).spacing_mm == (0.5, 0.75)
    assert cohort.load(cohort.cases[2]).spacing_mm == (1.0, 1.0)
    assert cohort.describe()["spacing_mm"] == {
        "low": [0.25, 0.75],
        "high": [1.0, 1.5],
        "note": "from the image files; in 2 case(s) not given: pixels counted as 1 mm",
    }


def test_declared_spacing_fills_in_and_has_to_agree(on_disk: OnDisk, write_file: Writer) -> None:
    on_disk.content["spacing_mm"] = [0.5, 0.75]
    cohort = spaced(on_disk, write_file, [(0.504, 0.75), (0.506, 0.75)])
    assert cohort.load(cohort.cases[0]).spacing_mm == pytest.approx((0.504, 0.75))
    assert cohort.load(cohort.cases[2]).spacing_mm == (0.5, 0.75)
    assert "case(s) from the dataset file" in cohort.describe()["spacing_mm"]["note"]
    error = load_refusal(cohort, cohort.cases[1])
    assert error.where == "cases.csv, row 3, column image (t1_1.nii.gz)"
    assert error.found == "0.506 x 0.75 mm"


def test_target_with_another_spacing_than_its_image_is_refused(on_disk: OnDisk, write_file: Writer) -> None:
    on_disk.rows[0]["target"] = "images/flair.nii"
    write_file(on_disk.path("images/flair.nii"), np.zeros((12, 10), np.int16), (1.0, 1.0))
    cohort = spaced(on_disk, write_file, [(2.0, 2.0)])
    assert load_refusal(cohort, cohort.cases[0]).where == "cases.csv, row 2, column target (flair.nii)"


# Files


@pytest.mark.parametrize("name", ["images/flair_0.npy", "masks/0.npy"])
def test_another_grid_than_the_image_is_refused(on_disk: OnDisk, name: str) -> None:
    on_disk.images[name] = np.zeros((10, 12), np.uint8)
    cohort = read_dataset(on_disk.save())
    error = load_refusal(cohort, cohort.cases[0])
    column = "lesion_mask" if "masks" in name else "target"
    assert (error.where, error.expected) == (
        f"cases.csv, row 2, column {column} ({Path(name).name})",
        "12 rows x 10 columns",
    )
    assert error.found == "10 rows x 12 columns"


def test_missing_files_are_reported_at_once(on_disk: OnDisk) -> None:
    path = on_disk.save()
    for name in ("images/t1_0.npy", "images/flair_2.npy", "masks/0.npy"):
        on_disk.path(name).unlink()
    error = refusal(path)
    assert error.problem.startswith("3 file(s)")
    assert findings(error) == [
        "row 2, column image (t1_0.npy): nothing there",
        "row 2, column lesion_mask (0.npy): nothing there",
        "row 4, column target (flair_2.npy): nothing there",
    ]


def test_a_file_of_another_kind_is_refused(on_disk: OnDisk) -> None:
    on_disk.save()
    on_disk.path("Doe^John.jpg").write_bytes(b"\xff\xd8")
    on_disk.rows[0]["image"] = "Doe^John.jpg"
    error = refusal(on_disk.save())
    assert findings(error)[0].startswith(f"row 2, column image: ends in none of {', '.join(SUFFIXES)}")
    assert "Doe" not in str(error)


def test_a_name_too_long_for_the_file_system_is_a_missing_file(on_disk: OnDisk) -> None:
    on_disk.rows[0]["image"] = "x" * 300 + ".npy"
    assert refusal(on_disk.save()).problem.startswith("1 file(s)")


def test_unreadable_cases_are_reported_at_once(on_disk: OnDisk) -> None:
    cohort = read_dataset(on_disk.save())
    on_disk.path("images/t1_1.npy").write_bytes(b"\x93NUMPY")
    np.save(on_disk.path("images/t1_2.npy"), np.full((12, 10), np.nan))
    np.save(on_disk.path("images/t1_3.npy"), np.full((12, 10), 500.0))
    assert [error.where for error in cohort.check_all()] == [
        f"cases.csv, row {n}, column image (t1_{n - 2}.npy)" for n in (3, 5)
    ]
    assert [error.where for error in cohort.check_all("train")] == ["cases.csv, row 4, column image (t1_2.npy)"]
    with pytest.raises(DatasetError) as caught:
        cohort.require_readable(None)
    error = complete(caught.value)
    assert error.problem.startswith("3 case(s)")
    assert findings(error)[0].startswith("001: cases.csv, row 3, column image (t1_1.npy): expected")
    assert "120 of 120 elements are NaN" in findings(error)[1]
    assert "found 500 to 500" in findings(error)[2]


def test_load_of_a_foreign_case_is_a_programming_error(on_disk: OnDisk) -> None:
    cohort = read_dataset(on_disk.save())
    with pytest.raises(ValueError, match="no case 'x'"):
        cohort.load(Case("x", "p", "test", has_target=False, annotated=False, has_mask=False))


# The TOML file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing": [1, 1]}, "unknown key 'spacing'; did you mean 'spacing_mm'?"),
        ({"value_range": [1, 1]}, "value_range: expected [low, high] with low < high, found [1, 1]"),
        ({"value_range": [0]}, "value_range: expected [low, high] with low < high, found [0]"),
        ({"value_range": [False, True]}, "value_range: expected [low, high] with low < high, found [false, true]"),
        ({"window": [0, 1]}, "value_range and window are both given; keep the one that applies"),
        ({"spacing_mm": [1, 0]}, "spacing_mm: expected [dy, dx], two positive numbers in mm, found [1, 0]"),
        ({"spacing_mm": 1}, "spacing_mm: expected [dy, dx], two positive numbers in mm, found 1"),
        ({"lesion_in": ["image"]}, 'lesion_in: expected a list of "source" and "target", found ["image"]'),
        ({"lesion_in": "target"}, 'lesion_in: expected a list of "source" and "target", found "target"'),
        ({"name": ""}, 'name: expected text, found ""'),
        ({"source_domain": 1}, "source_domain: expected text, found 1"),
        ({"cases": "cases.xlsx"}, 'cases: expected a .csv or .parquet file, found "cases.xlsx"'),
        ({"cases": 3}, "cases: expected text, found 3"),
    ],
)
def test_bad_description_is_refused(on_disk: OnDisk, change: dict[str, Any], message: str) -> None:
    path = on_disk.save()
    content = on_disk.content | change
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()))
    error = refusal(path)
    assert error.where == str(path)
    assert findings(error) == [message]


def test_all_problems_of_a_description_are_reported_at_once(on_disk: OnDisk) -> None:
    path = on_disk.save()
    path.write_text('schema = "medgan-qa/dataset/1"\nnmae = "x"\nvalue_range = [nan, 1.0]\ncases = "/data/cases.csv"\n')
    error = refusal(path)
    assert error.problem == "dataset.toml: 4 problem(s) in the dataset file"
    assert {line.split(":")[0] for line in findings(error)[1:]} == {"value_range", "cases", "name"}


@pytest.mark.parametrize("text", ['schema = "medgan-qa/card/1"\n', 'name = "x"\n', "schema = \n", "\xff"])
def test_what_is_no_dataset_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dataset.toml"
    path.write_bytes(text.encode("latin-1"))
    assert refusal(path).where == str(path)


def test_nothing_at_the_path_is_refused(tmp_path: Path) -> None:
    assert "nothing there" in str(refusal(tmp_path / "none.toml"))
    assert "no TOML file" in str(refusal(tmp_path))


# The table


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"case_id": ""}, "row 2: case_id is empty"),
        (1, {"patient_id": "  "}, "row 3: patient_id is empty"),
        (1, {"image": ""}, "row 3: image is empty"),
        (2, {"case_id": "000"}, "row 4: case_id stands already in row 2"),
        (2, {"case_id": " 000 "}, "row 4: case_id stands already in row 2"),
        (3, {"partition": "Test"}, "row 5: partition 'Test' is none of train, val, test"),
        (1, {"annotated": "yes"}, "row 3: annotated 'yes' is neither true nor false"),
        (1, {"synthetic": "2"}, "row 3: synthetic '2' is neither true nor false"),
        (0, {"annotated": "false"}, "row 2: annotated is false, but a lesion_mask is given"),
        (0, {"target": "/a.png"}, "row 2: target is absolute; a path relative to the dataset file is expected"),
        (0, {"target": "C:a.png"}, "row 2: target is absolute; a path relative to the dataset file is expected"),
        (0, {"target": "s3://a.zarr#b"}, "row 2: target is absolute; a path relative to the dataset file is expected"),
        (0, {"slice": "3"}, "row 2: slice is given without the volume that it is a slice of"),
        (0, {"slice": "-1", "volume": "v"}, "row 2: slice '-1' is no whole number of at least 0"),
        (0, {"acquired": "31.01.2024"}, "row 2: acquired is not a date as YYYY, YYYY-MM or YYYY-MM-DD"),
        (0, {"acquired": "2024-02-30"}, "row 2: acquired is not a date as YYYY, YYYY-MM or YYYY-MM-DD"),
    ],
)
def test_bad_row_is_refused(on_disk: OnDisk, number: int, change: dict[str, str], message: str) -> None:
    for row in on_disk.rows:
        row.update(dict.fromkeys(change.keys() - row.keys(), ""))
    on_disk.rows[number].update(change)
    error = refusal(on_disk.save())
    assert error.where == "cases.csv"
    assert error.problem == "cases.csv: 1 problem(s) in the table of cases"
    assert findings(error) == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 'case_id' is missing"),
        ("case_id,patient_id,partition,image\n", "no case: the table has no row below its header"),
        ("case_id,patient_id,partition,image\n,,,\n", "no case: the table has no row below its header"),
        ("case_id,patient_id,partition,image,sit\n", "unknown column 'sit'; did you mean 'site'?"),
        ("case_id,patient_id,partition,image,attr.\n", "unknown column 'attr.'"),
        ("case_id,patient,partition,image\n", "unknown column 'patient'; did you mean 'patient_id'?"),
        ("case_id,patient_id,partition,image,image\n", "column 'image' stands 2 times"),
        ("case_id;patient_id;partition;image\n", "columns are separated by semicolons; a comma is expected"),
        ("case_id,patient_id,partition,image\n1,2,test,a.png,x\n", "row 2: 5 cells under 4 columns"),
    ],
)
def test_bad_table_is_refused(on_disk: OnDisk, text: str, message: str) -> None:
    path = on_disk.save()
    on_disk.path("cases.csv").write_text(text)
    error = refusal(path)
    assert error.where == "cases.csv"
    assert findings(error)[0] == message


def test_all_problems_of_a_table_are_counted_and_ten_are_shown(on_disk: OnDisk) -> None:
    on_disk.rows = [dict(on_disk.rows[1], partition="all", annotated="maybe") for _ in range(7)]
    error = refusal(on_disk.save())
    assert error.problem == "cases.csv: 20 problem(s) in the table of cases"
    assert len(findings(error)) == 11
    assert findings(error)[-1] == "and 10 more"


@pytest.mark.parametrize("content", [b"case_id,\xff\n", b'case_id,"x', None])
def test_damaged_table_is_refused(on_disk: OnDisk, content: bytes | None) -> None:
    path, table = on_disk.save(), on_disk.path("cases.csv")
    table.unlink() if content is None else table.write_bytes(content)
    error = refusal(path)
    assert error.where == "cases.csv"
    assert "cannot be read" in str(error)
    assert str(on_disk.folder) not in str(error)


def test_excel_byte_order_mark_and_blank_rows_are_accepted(on_disk: OnDisk) -> None:
    path, table = on_disk.save(), on_disk.path("cases.csv")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes() + b",,,,,,,,,\r\n")
    assert len(read_dataset(path).cases) == 4


def test_parquet_works_like_csv(on_disk: OnDisk) -> None:
    expected = read_dataset(on_disk.save()).cases
    on_disk.content["cases"] = "cases.parquet"
    assert read_dataset(on_disk.save()).cases == expected
    on_disk.path("cases.parquet").write_bytes(b"PAR1")
    assert "cases.parquet" in str(refusal(on_disk.path("dataset.toml")))


def test_parquet_types_become_text_without_gaining_decimals(on_disk: OnDisk) -> None:
    on_disk.content["cases"] = "cases.parquet"
    for number, row in enumerate(on_disk.rows):
        row |= {"patient_id": number, "annotated": number < 2, "site": None}
    path = on_disk.save()
    table = pa.table({name: [row[name] for row in on_disk.rows] for name in on_disk.rows[0]})
    table = table.append_column("attr.age", pa.array([61, None, 62, 63]))
    pq.write_table(table, on_disk.path("cases.parquet"))
    cohort = read_dataset(path)
    assert [case.patient_id for case in cohort.cases] == ["0", "1", "2", "3"]
    assert [case.annotated for case in cohort.cases] == [True, True, False, False]
    assert [case.attributes.get("age") for case in cohort.cases] == ["61", None, "62", "63"]
    assert cohort.cases[0].site is None


def test_parquet_index_counts_as_a_column(on_disk: OnDisk) -> None:
    on_disk.content["cases"] = "cases.parquet"
    path = on_disk.save()
    pd.DataFrame(on_disk.rows).set_index("case_id").to_parquet(on_disk.path("cases.parquet"))
    assert [case.case_id for case in read_dataset(path).cases] == ["000", "001", "002", "003"]


# Digest and description


def test_digest_follows_content_and_not_row_order(on_disk: OnDisk) -> None:
    path = on_disk.save()
    digest = read_dataset(path).digest()
    assert len(digest) == 64
    random.Random(3).shuffle(on_disk.rows)
    assert [row["case_id"] for row in on_disk.rows] != ["000", "001", "002", "003"]
    assert read_dataset(on_disk.save()).digest() == digest


def test_digest_changes_with_one_pixel_one_cell_or_one_key(on_disk: OnDisk) -> None:
    digests = {read_dataset(on_disk.save()).digest()}
    for name in ("images/t1_2.npy", "images/flair_3.npy", "masks/0.npy"):
        on_disk.images[name][5, 5] ^= 1
        digests.add(read_dataset(on_disk.save()).digest())
    on_disk.rows[3]["attr.sex"] = "M"
    digests.add(read_dataset(on_disk.save()).digest())
    on_disk.rows[0]["image"], on_disk.rows[1]["image"] = on_disk.rows[1]["image"], on_disk.rows[0]["image"]
    digests.add(read_dataset(on_disk.save()).digest())
    on_disk.content["value_range"] = [0, 201]
    digests.add(read_dataset(on_disk.save()).digest())
    assert len(digests) == 7


def test_digest_of_a_vanished_file_is_refused(on_disk: OnDisk) -> None:
    cohort = read_dataset(on_disk.save())
    on_disk.path("images/t1_2.npy").unlink()
    with pytest.raises(DatasetError) as caught:
        cohort.digest()
    assert complete(caught.value).where == "cases.csv, row 4, column image (t1_2.npy)"


def test_describe_counts_what_the_report_prints(on_disk: OnDisk) -> None:
    on_disk.images["masks/empty.npy"] = np.zeros((12, 10), np.uint8)
    on_disk.rows[3].update({"lesion_mask": "masks/empty.npy", "annotated": "true", "synthetic": "true", "target": ""})
    on_disk.rows[2]["patient_id"] = "007"
    path = on_disk.save()
    cohort = read_dataset(path)
    summary = cohort.describe()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["file"], summary["digest"]) == (path.name, cohort.digest())
    assert (summary["cases"], summary["patients"], summary["patients_in_several_partitions"]) == (4, 2, 1)
    assert summary["partitions"]["test"] == {
        "cases": 3,
        "patients": 2,
        "with_lesions": 1,
        "annotated_lesion_free": 2,
        "unannotated": 0,
        "with_target": 2,
        "synthetic": 1,
    }
    assert summary["partitions"]["train"]["unannotated"] == 1
    assert summary["partitions"]["val"]["cases"] == 0
    assert summary["sites"] == {"A": 3, "not given": 1}
    assert summary["attributes"] == ["sex"]
    assert summary["spacing_mm"]["note"] == "not given: pixels counted as 1 mm"
    assert summary["value_range"] == [0.0, 200.0]


def finer(on_disk: OnDisk, rows: int, columns: int) -> OnDisk:
    """Targets and the mask on a grid finer than the images'."""
    on_disk.content["scale"] = [rows, columns]
    for name, array in on_disk.images.items():
        if "t1_" not in name:
            on_disk.images[name] = array.repeat(rows, 0).repeat(columns, 1)
    return on_disk


@pytest.mark.parametrize("scale", [(2, 2), (3, 1)])
def test_target_and_mask_may_lie_on_a_finer_grid(on_disk: OnDisk, scale: tuple[int, int]) -> None:
    cohort = read_dataset(finer(on_disk, *scale).save())
    cohort.require_readable(None)
    images = cohort.load(cohort.cases[0])
    assert images.target is not None
    assert images.lesion_mask is not None
    assert images.image.shape == (1, 12, 10)
    assert images.target.shape[1:] == images.lesion_mask.shape == (12 * scale[0], 10 * scale[1])
    assert images.lesion_mask.any()
    lesion_free = cohort.load(cohort.cases[1])
    assert lesion_free.lesion_mask is not None
    assert lesion_free.lesion_mask.shape == lesion_free.target.shape[1:]  # type: ignore[union-attr]


def test_a_target_on_another_grid_than_declared_is_refused(on_disk: OnDisk) -> None:
    dataset = finer(on_disk, 2, 2)
    dataset.content["scale"] = 3
    cohort = read_dataset(dataset.save())
    error = load_refusal(cohort, cohort.cases[0])
    assert "36 rows x 30 columns" in str(error.expected)
    assert "24 rows x 20 columns" in str(error.found)


def test_a_finer_target_carries_a_finer_spacing(tmp_path: Path, on_disk: OnDisk) -> None:
    dataset = finer(type(on_disk)(tmp_path, ".nii.gz"), 2, 1)
    dataset.content["spacing_mm"] = [2.0, 1.0]
    dataset.spacing = {name: (1.0, 1.0) if "t1_" not in name else (2.0, 1.0) for name in dataset.images}
    cohort = read_dataset(dataset.save())
    assert cohort.load(cohort.cases[0]).spacing_mm == (2.0, 1.0)
    dataset.spacing = dict.fromkeys(dataset.images, (2.0, 1.0))
    cohort = read_dataset(dataset.save())
    assert "spacing" in load_refusal(cohort, cohort.cases[0]).problem


def test_the_truth_of_a_super_resolution_stands_alone(on_disk: OnDisk) -> None:
    on_disk.content["degrade"] = True
    cohort = read_dataset(on_disk.save())
    assert "whose input is made from its image" in load_refusal(cohort, cohort.cases[0]).problem
    for row in on_disk.rows:
        row["target"] = ""
    cohort = read_dataset(on_disk.save())
    images = cohort.load(cohort.cases[0])
    assert images.degrade
    assert images.target is images.image


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scale": 0}, "scale: expected a whole number"),
        ({"scale": [2]}, "scale: expected a whole number"),
        ({"scale": [2, 0.5]}, "scale: expected a whole number"),
        ({"scale": True}, "scale: expected a whole number"),
        ({"degrade": 1}, "degrade: expected true or false"),
        ({"degrade": True, "scale": 2}, "scale and degrade are both given"),
    ],
)
def test_a_wrong_scale_is_refused(on_disk: OnDisk, changes: dict[str, Any], problem: str) -> None:
    on_disk.content.update(changes)
    assert any(line.startswith(problem) for line in findings(refusal(on_disk.save())))


def test_a_label_is_the_tables_or_what_the_lesions_tell(on_disk: OnDisk) -> None:
    cohort = read_dataset(on_disk.save())
    assert [label_of(case, cohort.load(case)) for case in cohort.cases] == ["lesion", "lesion-free", None, None]
    for row, label in zip(on_disk.rows, ("benign", "malignant", "", "benign"), strict=True):
        row["label"] = label
    cohort = read_dataset(on_disk.save())
    assert [label_of(case, cohort.load(case)) for case in cohort.cases] == ["benign", "malignant", None, "benign"]
