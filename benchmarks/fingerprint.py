"""What the spectral fingerprint of HYG-003 sees of the shipped models' outputs, put into a test partition one by one.

For each model the audit runs on embedded phantoms, in which no image is an output: every test image beyond the limit is
a false alarm. Then single test images are replaced, each in a run of its own, by what the model makes of something else
(a sampler: another seed; a translator: patients outside the cohort), as it is, stored in 8 bits, flipped, and smoothed.
Run from the repository:

    python -m benchmarks.fingerprint [--people 100] [--planted 10] [--model NAME]

The seconds are those of one reading, without the model's own time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.audits._fingerprints import Traced, traced_outputs
from medgan_qa.audits._model_outputs import Made, made
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages, subset
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.engines import LocalEngine
from medgan_qa.subjects.load import load_subject

Float = NDArray[np.float32]
SAMPLERS = ("dcgan-balanced", "dcgan-collapsed")
TRANSLATORS = ("pix2pix-balanced", "pix2pix-healthy", "cyclegan-balanced", "cyclegan-healthy")
FALSE_ALARM = 0.01


def eight_bits(image: Float) -> Float:
    """Stored in 8 bits."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.float32) / 255


CHANGES: dict[str, Callable[[Float], Float]] = {
    "as made": lambda image: image,
    "8 bits": eight_bits,
    "flipped": lambda image: image[:, ::-1].copy(),
    "smoothed": lambda image: np.asarray(ndimage.gaussian_filter(image, 0.6), np.float32),
}


class With:
    """A cohort with one test image, or target, replaced."""

    def __init__(self, cohort: Any, case: Case, image: Float) -> None:
        self._cohort, self._case, self._image = cohort, case, image

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        """Pixels of a case, or what stands in their place."""
        images: CaseImages = self._cohort.load(case)
        if case != self._case:
            return images
        field = "image" if images.target is None else "target"
        return replace(images, **{field: self._image[None]})


def traced(run: Any, outputs: Made) -> Traced:
    """The reading of every test image, at the rate that the suites use."""
    found = traced_outputs(run, outputs, FALSE_ALARM)
    assert isinstance(found, Traced)
    return found


def measured(name: str, people: int, planted: int) -> str:
    """One line of the table."""
    subject, sampler = load_subject(f"reference:{name}", "cpu"), name in SAMPLERS
    cohort: Any = BrainSlices(people=people) if sampler else BrainPhantoms(people=people)
    make = SynthesisRun if sampler else TranslationRun
    # What the model makes does not depend on what stands in a target's place.
    run = make(subject, cohort, None, LocalEngine(), 0)
    outputs = made(run)
    assert isinstance(outputs, Made)
    began = time.perf_counter()
    clean = traced(run, outputs)
    seconds = time.perf_counter() - began
    foreign = _foreign(subject, sampler, people, planted)
    cases = subset(cohort.cases, "test")
    seen = dict.fromkeys(CHANGES, 0)
    for k, image in enumerate(foreign):
        case = cases[(7 * k) % len(cases)]
        for words, change in CHANGES.items():
            found = traced(make(subject, With(cohort, case, change(image)), None, LocalEngine(), 0), outputs)
            seen[words] += case.case_id in {found.cases[i].case_id for i in found.flagged}
    shares = "  ".join(f"{words} {count}/{planted}" for words, count in seen.items())
    own = f"{sum(clean.own)}/{len(clean.own)}"
    return f"{name:18} false alarms {len(clean.flagged)}/{len(cases)}  own outputs {own}  {shares}  {seconds:.1f} s"


def _foreign(subject: Any, sampler: bool, people: int, planted: int) -> list[Float]:
    """What the model makes of something that is not in the run."""
    if sampler:
        return list(subject.sample(planted, 1)[:, 0])
    # Patients are the same however many are drawn, so those beyond the cohort's are others.
    more = BrainPhantoms(people=people + planted)
    others = more.cases[2 * people :: 2][:planted]
    return [subject.translate(more.load(case).image[None], 0)[0, 0] for case in others]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--model", action="append", choices=(*SAMPLERS, *TRANSLATORS))
    args = parser.parse_args()
    for name in args.model or (*SAMPLERS, *TRANSLATORS):
        print(measured(name, args.people, args.planted), flush=True)


if __name__ == "__main__":
    main()
