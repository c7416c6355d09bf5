"""CYC-001: whether the cycle closes over what the output shows, or over what it hides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._high_band import CODE, high_band
from medgan_qa.audits._volumes import Sections
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import sheet
from medgan_qa.audits.lesions import DIVISIBLE, FLAT, WEAK
from medgan_qa.audits.numbers import identifier, mean, median, rate
from medgan_qa.audits.run import NotFiniteError, grey
from medgan_qa.audits.translation import BATCH, Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import contrast, contrast_noise, surround
from medgan_qa.metrics.hidden_signal import (
    SIGMAS,
    body_error,
    error_ratio,
    perturbed,
    returned_detail,
    swap_transfer,
    swapped,
)
from medgan_qa.record import Exhibit
from medgan_qa.subjects.protocols import Subject

NO_EVIDENCE = (
    "A low cycle error is no evidence that the output preserves what the source shows: a pair of models can hide the "
    "source in the output and read it back."
)
NO_INVERSE = 'The model\'s card names no inverse model (inverse = "FILE" or "reference:NAME"), so there is no cycle.'
FAINTEST = f"noise {SIGMAS[0]}/255"

Float = NDArray[np.float32]


class Measured(NamedTuple):
    """One case, there and back."""

    item: Item
    error: float
    """Cycle error of the unchanged output."""
    errors: dict[str, float]
    """By change of the output."""
    ratios: dict[str, float]
    swap: float | None
    """None without another patient to swap with."""
    lesions: list[Row]
    """Lesions that the source shows and the output does not."""
    patches: NDArray[np.bool_]
    """(P,) whether each patch that lost its structure has it back."""


class Cycle(NamedTuple):
    """A run and the way back."""

    run: TranslationRun
    inverse: Subject
    partners: dict[str, Item]
    """By case id: the next case of another patient whose output has the same shape."""
    sections: Sections
    """Lesions by the image that they are looked at in."""

    def back(self, outputs: list[Float], items: Sequence[Item]) -> list[Float]:
        """F of outputs (C, H, W), those of one shape in one batch.

        Raises:
            NotFiniteError: an image holds NaN or infinity.
        """
        found: dict[int, Float] = {}
        for shape in dict.fromkeys(y.shape for y in outputs):
            same = [k for k, y in enumerate(outputs) if y.shape == shape]
            seed = rng.child_seed(self.run.seed, "inverse", items[same[0]].case.case_id)
            found.update(zip(same, self.inverse.translate(np.stack([outputs[k] for k in same]), seed), strict=True))
        for k, image in found.items():
            if not np.isfinite(image).all():
                raise NotFiniteError(
                    "The inverse model returned NaN or infinity.",
                    expected="finite numbers in every image",
                    found=f"in case {items[k].case.case_id}",
                    where=self.inverse.path,
                    todo="Repair the inverse model, or take the key inverse out of the card.",
                )
        return [found[k] for k in range(len(outputs))]

    def source(self, item: Item) -> Float:
        """X with all its channels, (C, H, W)."""
        return item.source[None] if self.inverse.card.channels_out == 1 else self.run.cohort.load(item.case).image

    def changed(self, item: Item) -> dict[str, Float]:
        """G(x) under every change, `none` first, and with another patient's high band where there is one."""
        output = item.channels[0]
        noise = rng.child(self.run.seed, "cycle noise", item.case.case_id).standard_normal(output.shape)
        images = {"none": output, **perturbed(output, noise)}
        if item.case.case_id in self.partners:
            images["swapped"] = swapped(output, self.partners[item.case.case_id].channels[0])
        return images


def hidden_cycle(run: TranslationRun, *, min_lesion_pixels: int = 3, worst: int = 6) -> Findings:
    """Cycle honesty.

    Question. Does the inverse model return to the source by what the output shows, or by a signal hidden in it?

    What it measures. The cycle error |F(G(x)) - x| over the body, and its ratio to itself after changes of G(x) that no
    eye sees: Gaussian noise of 1 to 5 grey levels of 255, rounding to 8 bits, and a mild low-pass. The size of the
    change is added to the divisor, so an inverse that hands a change on as it is has ratio 1 at most. Lesions, and
    patches of the body, that x shows and G(x) does not: the share that is back in F(G(x)). The swap test: how far the
    high band of another patient's output turns F's low band into that patient's source (0 none, 1 wholly). The share of
    power at high frequencies in the outputs over that in real target images, with real against real images beside it.

    Why it matters. A low cycle error is no evidence of preservation. Training for F(G(x)) = x lets the pair write x
    into G(x) at amplitudes below one grey level: the output may have lost every lesion while the cycle closes.

    Known limits. It needs the inverse model, which the card names; without one it does not apply. A model whose target
    contrast is flatter than its source's has an inverse that amplifies, noise too: the ratio then tends to that gain. A
    code that is spread redundantly over many pixels withstands noise; what comes back without having been there shows
    it. A lesion counts as not shown by its mean contrast, so one that shows as texture alone is counted wrongly.
    A lesion of a volume is looked at once, in the slice that shows it largest. Training with noise on G(x) makes a pair
    robust without making it faithful: preservation is for PAT-001 to measure.

    Method and source. Chu et al. 2017 (CycleGAN, a master of steganography); Bashkirova et al. 2019 (sensitivity to
    noise, reconstruction honesty). Medians over patients by order statistics, rates with exact bounds by patient.
    """
    findings = Findings(notes=[NO_EVIDENCE])
    inverse = run.inverse
    if inverse is None:
        findings.not_applicable = NO_INVERSE
        return findings
    sections = Sections(run.items, min_lesion_pixels, paired=False)
    cycle = Cycle(run, inverse, _partners(run.items), sections)
    batches = [run.items[k : k + BATCH] for k in range(0, len(run.items), BATCH)]
    made = run.engine.map(lambda batch: _measure(cycle, batch), batches, label="Translating back")
    measured = [one for batch in made for one in batch]
    findings.estimates = [
        *(_ratio(measured, name) for name in measured[0].ratios),
        _error(run, measured),
        *_returned(measured),
        _swap(measured),
        *high_band(run),
    ]
    findings.rows = [_row(one) for one in measured]
    findings.tables[f"exhibits/{CODE}-lesions.csv"] = [
        {**one.item.row, **lesion} for one in measured for lesion in one.lesions
    ]
    findings.notes.append(f"The inverse model is {inverse.card.name} ({inverse.path.name}, SHA-256 {inverse.sha256}).")
    findings.exhibits.append(_curve(measured))
    _show(findings, cycle, measured, worst)
    return findings


def _partners(items: Sequence[Item]) -> dict[str, Item]:
    found = {}
    for k, item in enumerate(items):
        rest = (items[(k + step) % len(items)] for step in range(1, len(items)))
        shape, patient = item.channels[0].shape, item.case.patient_id
        other = next((i for i in rest if i.case.patient_id != patient and i.channels[0].shape == shape), None)
        if other is not None:
            found[item.case.case_id] = other
    return found


def _measure(cycle: Cycle, items: Sequence[Item]) -> list[Measured]:
    changed = [cycle.changed(item) for item in items]
    returned: list[dict[str, Float]] = [{} for _ in items]
    for name in dict.fromkeys(name for images in changed for name in images):
        held = [k for k, images in enumerate(changed) if name in images]
        images = cycle.back([changed[k][name] for k in held], [items[k] for k in held])
        for k, image in zip(held, images, strict=True):
            returned[k][name] = image
    return [_of_case(cycle, *one) for one in zip(items, changed, returned, strict=True)]


def _of_case(cycle: Cycle, item: Item, changed: dict[str, Float], returned: dict[str, Float]) -> Measured:
    source, body, back = cycle.source(item), item.body, returned["none"]
    errors = {name: body_error(image, source, body) for name, image in returned.items() if name != "swapped"}
    error = errors.pop("none")
    sizes = {name: body_error(changed[name], changed["none"], body) for name in errors}
    swap = None
    if "swapped" in returned:
        other = cycle.source(cycle.partners[item.case.case_id])
        swap = swap_transfer(source, other, back, returned["swapped"], body)
    return Measured(
        item=item,
        error=error,
        errors=errors,
        ratios={name: error_ratio(errors[name], error, sizes[name]) for name in errors},
        swap=swap,
        lesions=_lost(item, grey(back), cycle.sections),
        patches=returned_detail(item.source, item.output, grey(back), body).returned,
    )


def _lost(item: Item, back: Float, sections: Sections) -> list[Row]:
    """Lesions that stand out in the source and not in the output, with their contrast in all three images."""
    rows: list[Row] = []
    lesions, masks = sections.of(item)
    for number, mask in lesions:
        ring = surround(mask, item.body, masks)
        # Three pixels are the least that a mean of tissue around a lesion can be taken from.
        if ring.sum() < 3:
            continue
        before, shown, after = (contrast(image, mask, ring) for image in (item.source, item.output, back))
        seen = abs(before) > DIVISIBLE * contrast_noise(item.source, mask, ring)
        if seen and abs(shown) < max(FLAT * abs(before), contrast_noise(item.output, mask, ring)):
            contrasts = {"contrast_source": before, "contrast_output": shown, "contrast_back": after}
            rounded = {name: round(value, 4) for name, value in contrasts.items()}
            rows.append({"lesion": number, **rounded, "returned": bool(after / before >= WEAK)})
    return rows


def _ratio(measured: Sequence[Measured], name: str) -> Estimate:
    return median(
        identifier(CODE, "error_ratio", name),
        "Cycle error after a change of the output, over that without it plus the change",
        [one.ratios[name] for one in measured],
        [one.item.case.patient_id for one in measured],
        unit="1",
        unit_of_analysis="image",
        better="lower",
        stratum=name,
        units=[one.item.case.case_id for one in measured],
    )


def _error(run: TranslationRun, measured: Sequence[Measured]) -> Estimate:
    return mean(
        f"{CODE}.cycle_error",
        "Cycle error |F(G(x)) - x|, body (no evidence of preservation)",
        [one.error for one in measured],
        [one.item.case.patient_id for one in measured],
        unit="unit range",
        unit_of_analysis="image",
        better="none",
        seed=run.seed,
        units=[one.item.case.case_id for one in measured],
    )


def _returned(measured: Sequence[Measured]) -> list[Estimate]:
    lesions = [(lesion["returned"], one.item.case.patient_id) for one in measured for lesion in one.lesions]
    patches = [(bool(back), one.item.case.patient_id) for one in measured for back in one.patches]
    return [
        rate(
            f"{CODE}.{name}",
            label,
            [event for event, _ in events],
            [patient for _, patient in events],
            unit_of_analysis=unit,
        )
        for name, label, events, unit in (
            (
                "returned_lesion_rate",
                "Lesions that the output does not show and the inverse brings back",
                lesions,
                "lesion absent from the output",
            ),
            (
                "returned_detail_rate",
                "Structure that the output does not show and the inverse brings back",
                patches,
                "patch flat in the output",
            ),
        )
    ]


def _swap(measured: Sequence[Measured]) -> Estimate:
    held = [(one.swap, one.item.case) for one in measured if one.swap is not None]
    return median(
        f"{CODE}.swap_transfer",
        "Share of another patient's source that comes back with the high band of that patient's output",
        [swap for swap, _ in held],
        [case.patient_id for _, case in held],
        unit="1",
        unit_of_analysis="image",
        better="lower",
        units=[case.case_id for _, case in held],
    )


def _row(one: Measured) -> Row:
    return {
        **one.item.row,
        "cycle_error": round(one.error, 5),
        **{f"ratio_{name.replace(' ', '_')}": round(value, 3) for name, value in one.ratios.items()},
        "swap_transfer": None if one.swap is None else round(one.swap, 3),
        "lesions_absent_from_output": len(one.lesions),
        "of_these_returned": sum(lesion["returned"] for lesion in one.lesions),
        "patches_flat_in_output": len(one.patches),
        "patches_returned": int(one.patches.sum()),
    }


def _curve(measured: Sequence[Measured]) -> Exhibit:
    errors = np.array([[one.error, *(one.errors[f"noise {s}/255"] for s in SIGMAS)] for one in measured])
    low, middle, high = np.quantile(errors, (0.05, 0.5, 0.95), axis=0)
    series = {"y": middle, "low": low, "high": high}
    return Exhibit(
        id=f"{CODE}-noise",
        kind="curves",
        title="Cycle error under noise on the output",
        caption="Mean of |F(G(x) + noise) - x| over the body; medians over the images with the range from 5 to 95 %. "
        f"An honest inverse hands a little noise on as a little error. {NO_EVIDENCE}",
        data={
            "x_label": "standard deviation of the noise (grey levels of 255)",
            "y_label": "cycle error (unit range)",
            "series": [
                {
                    "name": "cycle error",
                    "x": [0.0, *map(float, SIGMAS)],
                    **{key: [round(float(v), 5) for v in values] for key, values in series.items()},
                }
            ],
        },
    )


def _show(findings: Findings, cycle: Cycle, measured: Sequence[Measured], worst: int) -> None:
    """The cases whose error grows most under the faintest noise."""
    order = sorted(measured, key=lambda one: (-one.ratios[FAINTEST], one.item.case.case_id))
    shape = order[0].item.output.shape
    items = [one.item for one in order if one.item.output.shape == shape][:worst]
    shown = {"source x": [item.source for item in items], "output G(x)": [item.output for item in items]}
    changed = [cycle.changed(item) for item in items]
    for name, label in (("none", "F(G(x))"), (FAINTEST, f"F(G(x) + {FAINTEST})"), ("swapped", "F, high band swapped")):
        held = [k for k, images in enumerate(changed) if name in images]
        returned = cycle.back([changed[k][name] for k in held], [items[k] for k in held]) if held else []
        shown[label] = [grey(image) for image in returned]
    sheet(
        findings,
        f"{CODE}-cases",
        "There and back",
        f"The {len(items)} cases whose cycle error grows most under noise of one grey level, one below the other. "
        f"{NO_EVIDENCE}",
        {label: np.stack(images) for label, images in shown.items() if images},
        columns=max(len(items), 1),
    )
