"""Rendering: the same pixels everywhere, exactly paired contrasts, an exact mask, lesions that look as they should."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.contrasts import CONTRASTS
from medgan_qa.cohorts.phantom import COHORT_SEED, PLANS, draw_cohort
from medgan_qa.cohorts.phantom_render import _texture, anatomy, pixel_mm, render, render_pair
from medgan_qa.cohorts.phantom_spec import SITES, LesionSpec, PatientSpec, SliceSpec, draw_patient, draw_slices

SPECS = draw_cohort(COHORT_SEED, "test", 40)
WITH_LESION = [spec for spec in SPECS if spec.patient.lesion is not None and spec.index == 0]

IN_ANOTHER_PROCESS = """
import hashlib
from medgan_qa.cohorts.phantom import COHORT_SEED, BrainPhantoms, draw_cohort
from medgan_qa.cohorts.phantom_render import render, render_pair

specs = draw_cohort(COHORT_SEED, "test", 3)
render(specs[1], "CT", 128)
for spec in reversed(specs):
    pixels = b"".join(a.tobytes() for a in render_pair(spec, "T2", "FLAIR", 64))
    print(spec.case_id, hashlib.sha256(pixels).hexdigest())
print("cohort", BrainPhantoms(people=3).digest())
"""


def pixels(spec: SliceSpec) -> bytes:
    return b"".join(a.tobytes() for a in render_pair(spec, "T2", "FLAIR", 64))


def changed(spec: SliceSpec, **patient: Any) -> SliceSpec:
    """The slice with other properties of its patient."""
    return dataclasses.replace(spec, patient=dataclasses.replace(spec.patient, **patient))


def restored(content: dict[str, Any]) -> SliceSpec:
    """A slice from what a Record says of it."""

    def tuples(value: Any) -> Any:
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    plain = {k: tuples(v) for k, v in content.items() if k != "version"}
    patient = {k: tuples(v) for k, v in plain.pop("patient").items()}
    lesion = patient.pop("lesion")
    lesion = lesion and LesionSpec(**{k: tuples(v) for k, v in lesion.items()})
    return SliceSpec(patient=PatientSpec(**patient, lesion=lesion), **plain)


def test_same_pixels_in_another_process_and_order() -> None:
    from medgan_qa.cohorts.phantom import BrainPhantoms

    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    elsewhere = dict(line.split() for line in answer.splitlines())
    here = {spec.case_id: hashlib.sha256(pixels(spec)).hexdigest() for spec in SPECS[:6]}
    assert elsewhere == {**here, "cohort": BrainPhantoms(people=3).digest()}


def test_what_a_record_says_is_enough_to_render_again() -> None:
    for spec in SPECS[:6]:
        again = restored(json.loads(json.dumps(spec.as_dict())))
        assert again == spec
        assert pixels(again) == pixels(spec)


def test_patients_and_slices_differ() -> None:
    assert len({pixels(spec) for spec in SPECS}) == len(SPECS)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_pair_of_contrasts_shows_the_same_anatomy_and_mask(size: int) -> None:
    spec = WITH_LESION[0]
    scene = anatomy(spec, size)
    for source, target in (("T1", "T2"), ("T2", "FLAIR"), ("FLAIR", "CT")):
        first, second, mask = render_pair(spec, source, target, size)
        np.testing.assert_array_equal(mask, scene.mask)
        np.testing.assert_array_equal(first, render(spec, source, size))
        np.testing.assert_array_equal(second, render(spec, target, size))


def test_contrasts_differ_by_their_tables_and_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names for one noise-free table give one image: anatomy, lesion, texture and receive field are shared."""
    for contrast in ("T2", "FLAIR"):
        monkeypatch.setitem(CONTRASTS, contrast, CONTRASTS["T2"]._replace(noise=0.0))
    for spec in WITH_LESION[:4]:
        spec = dataclasses.replace(spec, gain=dict.fromkeys(CONTRASTS, 1.0))
        first, second, _ = render_pair(spec, "T2", "FLAIR", 64)
        np.testing.assert_array_equal(first, second)


def test_noise_of_two_contrasts_is_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(WITH_LESION[0], gain=dict.fromkeys(CONTRASTS, 1.0))
    monkeypatch.setitem(CONTRASTS, "FLAIR", CONTRASTS["T2"])
    first, second, _ = render_pair(spec, "T2", "FLAIR", 128)
    monkeypatch.setitem(CONTRASTS, "T2", CONTRASTS["T2"]._replace(noise=0.0))
    clean = render(spec, "T2", 128)
    inside = (anatomy(spec, 128).tissue.sum(-1) > 0.9) & (clean < 0.8)  # where nothing is clipped
    residuals = np.stack([(image - clean)[inside] for image in (first, second)])
    assert residuals.std() > 0.01
    assert abs(np.corrcoef(residuals)[0, 1]) < 4 / np.sqrt(inside.sum())  # four standard errors of no correlation


@pytest.mark.parametrize("site", SITES)
def test_air_holds_rayleigh_noise_of_the_site(site: str) -> None:
    spec = changed(SPECS[6], site=site)
    air = anatomy(spec, 128).tissue.sum(-1) == 0
    sigma = CONTRASTS["T1"].noise * SITES[site]
    assert air.sum() > 2000
    assert render(spec, "T1", 128)[air].mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.05)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_mask_is_the_pixels_that_are_half_lesion_and_lies_in_the_head(size: int) -> None:
    for spec in SPECS[:24]:
        scene = anatomy(spec, size)
        np.testing.assert_array_equal(scene.mask, scene.oedema >= 0.5)
        assert (scene.oedema >= scene.core).all()
        assert (scene.tissue[scene.mask].sum(-1) > 0.9).all()
        assert (scene.tissue[scene.mask][:, 3:].sum(-1) < 0.2).all()


def test_lesions_are_bright_in_t2_and_flair_and_dark_in_t1_and_ct() -> None:
    assert len(WITH_LESION) == 30
    for spec in WITH_LESION:
        scene = anatomy(spec, 64)
        near = ndimage.binary_dilation(scene.mask, iterations=4) & ~ndimage.binary_dilation(scene.mask)
        ring = near & (scene.tissue[..., :2].sum(-1) > 0.7)  # parenchyma around the lesion
        for contrast, sign in (("T1", -1), ("T2", 1), ("FLAIR", 1), ("CT", -1)):
            image = render(spec, contrast, 64, scene)
            assert sign * (image[scene.mask].mean() - image[ring].mean()) > 0.015, (spec.case_id, contrast)


def test_plans_say_which_slices_show_the_lesion() -> None:
    expected = {"both": [True, True], "one": [True, False], "none": [False, False]}
    for number in range(len(SPECS) // 2):
        shown = [bool(anatomy(spec, 64).mask.any()) for spec in SPECS[2 * number : 2 * number + 2]]
        assert shown == expected[PLANS[number % 4]], SPECS[2 * number].case_id


@settings(max_examples=40)
@given(st.floats(4, 38), st.floats(8, 26), st.floats(0.9, 1.1), st.integers(0, 99))
def test_prop_the_other_slice_of_plan_one_is_lesion_free(z: float, radius: float, scale: float, seed: int) -> None:
    """Also for a lesion that leaves no room in the slab, in a head taller or flatter than most."""
    patient = draw_patient(seed, "p", lesion=True)
    assert patient.lesion is not None
    lesion = dataclasses.replace(patient.lesion, centre_mm=(z, 10.0, 30.0), radius_mm=radius)
    patient = dataclasses.replace(patient, lesion=lesion, scale=(scale, *patient.scale[1:]))
    assert not anatomy(draw_slices(seed, patient, "one")[1], 32).mask.any()


def test_mass_effect_moves_tissue_and_not_the_lesion() -> None:
    spec = WITH_LESION[0]
    assert spec.patient.lesion is not None
    still, moved = (
        anatomy(changed(spec, lesion=dataclasses.replace(spec.patient.lesion, mass_effect=m)), 64) for m in (0.0, 0.3)
    )
    assert np.abs(still.tissue - moved.tissue).max() > 0.1
    # The lesion keeps clear of bone and fluid that were moved, and is the same elsewhere.
    assert (still.mask ^ moved.mask).sum() <= 0.1 * still.mask.sum()


def test_size_changes_the_sampling_and_not_the_scene() -> None:
    for spec in WITH_LESION[:6]:
        coarse, fine = anatomy(spec, 64), anatomy(spec, 128)
        pooled = fine.oedema.reshape(64, 2, 64, 2).mean((1, 3))
        assert np.corrcoef(pooled.ravel(), coarse.oedema.ravel())[0, 1] > 0.95
        area = [scene.mask.sum() * pixel_mm(size) ** 2 for scene, size in ((coarse, 64), (fine, 128))]
        assert area[0] == pytest.approx(area[1], rel=0.2)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_texture_has_unit_standard_deviation(size: int) -> None:
    fields = np.stack([_texture(rng.child(k, "texture test"), size) for k in range(60)])
    assert fields.std() == pytest.approx(1.0, abs=0.01)
    assert abs(fields.mean()) < 0.01


def mirrored_t(images: np.ndarray) -> np.ndarray:
    """Student's t, a pixel, of the difference between images (N, H, W) and their mirror images."""
    difference = images - images[:, :, ::-1]
    return difference.mean(0) / np.maximum(difference.std(0, ddof=1) / np.sqrt(len(images)), 1e-6)


def test_left_and_right_can_be_told_apart() -> None:
    healthy = draw_cohort(COHORT_SEED, "mirror", 150, plans=("none",))[::2]
    images = np.stack([render(spec, "T2", 32) for spec in healthy]).astype(np.float64)
    inside = images.mean(0) > 0.2
    assert np.mean(np.abs(mirrored_t(images)[inside]) > 3) > 0.1
    # The same patients, each mirrored or not by chance, have no side.
    coin = rng.child(0, "mirror").random(len(images)) < 0.5
    shuffled = np.where(coin[:, None, None], images[:, :, ::-1], images)
    assert np.mean(np.abs(mirrored_t(shuffled)[inside]) > 3) < 0.03


@settings(max_examples=40)
@given(
    st.integers(-(2**40), 2**40),
    st.text(max_size=30),
    st.sampled_from([32, 64, 128]),
    st.sampled_from(sorted(CONTRASTS)),
    st.booleans(),
)
def test_prop_every_image_is_finite_float32_in_unit_range(
    seed: int, patient_id: str, size: int, contrast: str, lesion: bool
) -> None:
    patient = draw_patient(seed, patient_id, lesion=lesion)
    spec = draw_slices(seed, patient, "both" if lesion else "none")[1]
    image = render(spec, contrast, size)
    assert image.dtype == np.float32
    assert image.shape == (size, size)
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.05  # a head, not a flat field
