"""How often HYG-005 finds augmented samples, by kind, dose and number of samples.

Readers are learnt from phantom patients as in the audit. A pool of fresh patients is read once as drawn and once
changed; each repetition draws its samples from the pool, each changed with probability `dose`. A dose is found where
the lower 95 % bound of the share is above 0, and passes where the upper one is at most 0.05. Run from the repository:

    python -m benchmarks.leaked_augmentation [--people 500] [--repetitions 200]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from medgan_qa import rng
from medgan_qa.audits._leak_evidence import Evidence, Rule, evidence
from medgan_qa.audits._leak_readers import Reading, small
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.augmenting_samplers import KINDS
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine

PARTS = {"rotated": "turned", "flipped": "turned", "contrast": "altered", "cut-out": "cut"}
DOSES = (0.0, 0.02, 0.05, 0.1, 0.3)
SIZES = (200, 1000)
LIMIT, ALPHA = 0.05, 0.05


def changed(seen: Evidence, kind: str) -> Reading:
    """What is read of every image of the pool once it is changed."""
    images, change = seen.samples.images, KINDS[kind][1]
    made = np.stack([change(image[0], rng.child(0, kind, k))[None] for k, image in enumerate(images)])
    return seen.readers.read(small(made))


def drawn(seen: Evidence, other: Reading, n: int, dose: float, g: np.random.Generator) -> Evidence:
    """The evidence with `n` samples from the pool, each changed with probability `dose`."""
    chosen = g.permutation(len(seen.samples))[:n]
    planted = g.random(n) < dose
    parts = [
        np.where(planted.reshape(-1, *[1] * (a.ndim - 1)), b[chosen], a[chosen])
        for a, b in zip(seen.drawn, other, strict=True)
    ]
    return replace(seen, samples=seen.samples.take(chosen), drawn=Reading(*parts))


def rates(seen: Evidence, kind: str, other: Reading, n: int, dose: float, repetitions: int) -> list[float]:
    """Shares of repetitions in which the dose is found and passes, and the mean estimate."""
    g, part = rng.child(0, "repetitions", kind, n, round(1000 * dose)), PARTS[kind]
    missed = [power.missed for power in seen.seen(part)]
    found = []
    for _ in range(repetitions):
        one = drawn(seen, other, n, dose, g)
        share = one.share(one.drawn.found(part), one.real.found(part), missed, ALPHA)
        found.append((share.low > 0, share.high <= LIMIT, share.value or 0.0))
    return [float(value) for value in np.array(found, float).mean(axis=0)]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=500, help="patients in train, and as many in test")
    parser.add_argument("--repetitions", type=int, default=200)
    arguments = parser.parse_args()
    cohort = BrainSlices(people=arguments.people)
    subject = planted_sampler(cohort, Independent())
    run = SynthesisRun(subject, cohort, None, LocalEngine(), 0, samples=2 * max(SIZES))
    seen = evidence(run, Rule(0.005, 0.75, 150))
    if isinstance(seen, str):
        raise SystemExit(seen)
    print(f"| change | n | {' | '.join(f'{dose:.0%}: found, passed, mean' for dose in DOSES)} |")
    print("| --- " * (2 + len(DOSES)) + "|")
    for kind in KINDS:
        other = changed(seen, kind)
        for n in SIZES:
            cells = [rates(seen, kind, other, n, dose, arguments.repetitions) for dose in DOSES]
            print(f"| {kind} | {n} | " + " | ".join(f"{f:.0%}, {p:.0%}, {m:.3f}" for f, p, m in cells) + " |")


if __name__ == "__main__":
    main()
