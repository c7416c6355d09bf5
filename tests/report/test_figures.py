from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medgan_qa.errors import RecordError
from medgan_qa.record import Exhibit, Record
from medgan_qa.report import figures_charts, figures_forest, figures_panels, pictures
from medgan_qa.report.svg import PX_PER_MM
from medgan_qa.report.typography import text_width, wrap

RunMaker = Callable[..., Record]
STEP = 34 * PX_PER_MM / 8


def exhibit(record: Record, kind: str) -> Exhibit:
    return next(item for item in record.audits[0].exhibits if item.kind == kind)


def test_panels_have_a_row_a_case_and_a_difference(make_run: RunMaker, tmp_path: Path) -> None:
    shown = figures_panels.panels(exhibit(make_run(panel_cases=4), "panels"), tmp_path)
    assert [column.title for column in shown.columns] == ["T2", "FLAIR (model)", "FLAIR (real)", "Difference"]
    assert [len(row.images) for row in shown.rows] == [4] * 4
    assert [row.rule for row in shown.rows][:2] == ["worst by rule", "drawn at random"]
    assert shown.scale is not None
    assert "+0.4" in shown.scale


def test_panels_without_a_reference_show_no_difference(make_run: RunMaker, tmp_path: Path) -> None:
    item = exhibit(make_run(), "panels")
    path = tmp_path / str(item.file)
    with np.load(path) as stored:
        kept = {name: stored[name] for name in ("source", "output")}
    np.savez(path, **kept)
    shown = figures_panels.panels(item, tmp_path)
    assert [column.role for column in shown.columns] == ["source", "output"]
    assert shown.scale is None
    assert shown.key == []


def test_outlines_lie_on_pixel_borders() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 1:3] = True
    path = re.search(r'd="([^"]+)"', pictures.outline(mask, pictures.LESION)[0])
    assert path is not None
    points = np.array([float(number) for number in re.findall(r"[\d.]+", path[1])]).reshape(-1, 2) / STEP
    assert points.min(axis=0) == pytest.approx([1, 2], abs=0.01)
    assert points.max(axis=0) == pytest.approx([3, 5], abs=0.01)


def test_an_empty_mask_has_no_outline() -> None:
    assert pictures.outline(np.zeros((8, 8), dtype=bool), pictures.LESION) == []


def test_the_detector_marks_the_output_only(make_run: RunMaker, tmp_path: Path) -> None:
    row = figures_panels.panels(exhibit(make_run(), "panels"), tmp_path).rows[2]
    assert [pictures.READING in image for image in row.images] == [False, True, False, False]
    assert [pictures.LESION in image for image in row.images] == [True, True, True, False]


def test_difference_colours_are_symmetric_around_a_grey_zero() -> None:
    image = pictures.coloured(np.array([[-1.0, 0.0, 0.5]]), 0.5).convert("RGB")
    height, third = image.height // 2, image.width // 3
    left, middle, right = (image.getpixel((third // 2 + third * index, height)) for index in range(3))
    assert isinstance(left, tuple)
    assert isinstance(middle, tuple)
    assert isinstance(right, tuple)
    assert min(middle) > 235
    assert left[2] > left[0]
    assert right[0] > right[2]


@pytest.mark.parametrize(("largest", "reach"), [(0.0, 0.1), (0.2, 0.2), (0.21, 0.3), (7.0, 1.0)])
def test_the_difference_range_is_rounded_up_and_bounded(largest: float, reach: float) -> None:
    arrays = {"output": np.full((1, 2, 2), largest), "reference": np.zeros((1, 2, 2))}
    assert figures_panels.difference_range(arrays) == pytest.approx(reach)


def test_values_beyond_the_display_range_are_clipped() -> None:
    image = np.asarray(pictures.grey(np.array([[-3.0, -3.0], [5.0, np.nan]]), (0.0, 1.0)))
    assert image.min() == 0
    assert image.max() == 255


def test_images_of_the_wrong_shape_are_refused(make_run: RunMaker, tmp_path: Path) -> None:
    item = exhibit(make_run(), "panels")
    np.savez(tmp_path / str(item.file), source=np.zeros((2, 4, 4)), output=np.zeros((3, 4, 4)))
    with pytest.raises(RecordError, match="do not fit its list of cases"):
        figures_panels.panels(item, tmp_path)


def test_a_file_of_objects_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    item = exhibit(make_run(), "panels")
    np.savez(tmp_path / str(item.file), source=np.array([{}], dtype=object), output=np.zeros((3, 4, 4)))
    with pytest.raises(RecordError, match="cannot be read"):
        figures_panels.panels(item, tmp_path)


@pytest.mark.parametrize("file", ["../secret.npz", "/etc/hostname", None])
def test_a_record_cannot_name_a_file_outside_its_folder(make_run: RunMaker, tmp_path: Path, file: str | None) -> None:
    item = exhibit(make_run(), "panels").model_copy(update={"file": file})
    with pytest.raises(RecordError, match="names no file of the run's folder"):
        figures_panels.panels(item, tmp_path)


def test_a_forest_draws_rows_limit_and_missing_values(make_run: RunMaker) -> None:
    drawing = figures_forest.forest(exhibit(make_run(), "forest").data, "strata")[0]
    assert drawing.count("<circle") == 4
    assert "not obtained: no annotated lesion" in drawing
    assert "limit \u2264 10 %" in drawing
    assert "160 lesions; 80" in drawing


def test_a_long_forest_is_drawn_on_several_pages() -> None:
    rows = [{"label": f"site {index}", "value": 0.1, "low": 0.0, "high": 0.2, "n": 5} for index in range(95)]
    drawings = figures_forest.forest({"unit": "fraction", "rows": rows, "limit": None, "x": None}, "sites")
    assert [drawing.count("<circle") for drawing in drawings] == [12] * 7 + [11]


def test_an_interval_that_leaves_the_axis_ends_in_an_arrow() -> None:
    row = {"label": "a", "value": 0.3, "low": 0.1, "high": 0.9, "n": 5}
    inside = figures_forest.forest({"unit": "1", "rows": [row], "x": [0, 1]}, "one row")[0]
    beyond = figures_forest.forest({"unit": "1", "rows": [row], "x": [0, 0.5]}, "one row")[0]
    assert inside.count("<path") == 0
    assert beyond.count("<path") == 1


def test_the_fates_of_lesions_look_the_same_whatever_else_is_shown() -> None:
    few, many = ["lost"], ["other", "kept", "lost"]
    assert figures_charts.style_of("lost", few) == figures_charts.style_of("lost", many)
    styles = {figures_charts.style_of(group, many) for group in many}
    assert len({kind for kind, _ in styles}) == len({colour for _, colour in styles}) == 3


def test_a_scatter_plot_has_a_marker_a_point_and_a_legend(make_run: RunMaker) -> None:
    data = exhibit(make_run(), "scatter").data
    drawing = figures_charts.scatter(data, "recovery")
    groups = {point["group"] for point in data["points"]}
    assert drawing.count("<path") == len(data["points"]) + len(groups)
    assert all(f">{group}</text>" in drawing for group in groups)
    assert "<title>case-0000</title>" in drawing


def test_a_scatter_plot_without_points_is_an_empty_frame() -> None:
    drawing = figures_charts.scatter({"x_label": "x", "y_label": "y", "points": []}, "none")
    assert "<path" not in drawing
    assert ">x</text>" in drawing


def test_drawings_escape_what_stands_in_the_record() -> None:
    point = {"x": 1, "y": 1, "group": "<script>", "case_id": "</title><script>"}
    drawing = figures_charts.scatter({"x_label": "<b>", "y_label": "", "points": [point]}, '"><script>')
    assert "<script" not in drawing
    assert "<b>" not in drawing


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-0.5, 1.5, [-0.5, 0.0, 0.5, 1.0, 1.5]), (3.0, 3.0, [3.0])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert figures_charts.ticks(low, high) == expected


def test_wrapped_text_fits_and_loses_nothing() -> None:
    text = "diameter above ten millimetres, periventricular or juxtacorticaljuxtacorticaljuxtacortical"
    lines = wrap(text, 80, 9)
    assert all(text_width(line, 9) <= 80 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
