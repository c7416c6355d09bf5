"""What the search for leaked and augmented images finds, change by change, and what it costs; peers side by side.

Phantom patients, two slices each, half of the images in train and half in test, every patient drawn and every image
rendered on its own. A share of the test images is replaced by images of train (a leak) or of test (augmentation), each
after one of the changes in turn; the rest is clean. The peers see the same images in the same run. Run from the
repository:

    python benchmarks/hygiene.py [--images 2000] [--share 0.1] [--seeds 1] [--peers]
    python benchmarks/hygiene.py --images 100000 --share 0.02
    python benchmarks/hygiene.py --volumes [--seeds 3]

Peers, at the thresholds that their documentation uses: imagehash (phash, dhash, whash; up to 5 of 64 bits apart) and
imagededup (PHash, up to 10 bits apart). The network of imagededup is left out: its weights come from the network.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from medgan_qa import rng
from medgan_qa.audits._partitions import partition
from medgan_qa.audits._same_images import Rule, same_images
from medgan_qa.audits._slice_runs import leaked_volumes
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, subset
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import augmented, compressed, cropped, moved
from medgan_qa.controls.stacks import Stacks
from medgan_qa.engines import Engine, LocalEngine

Float = NDArray[np.float32]
Change = Callable[[Float, np.random.Generator], Float]
Pairs = set[tuple[str, str]]

IMAGEHASH_BITS, IMAGEDEDUP_BITS = 5, 10


def _coarse_blocks(image: Float, g: np.random.Generator) -> Float:
    """Blocks of 8 x 8, their cosine coefficients rounded, coarser towards high frequencies."""
    out = image.copy()
    for y in range(0, image.shape[0], 8):
        for x in range(0, image.shape[1], 8):
            block = fft.dctn(image[y : y + 8, x : x + 8], norm="ortho")
            step = 0.06 * (1 + sum(np.indices(block.shape)) * 0.5)
            out[y : y + 8, x : x + 8] = fft.idctn(np.rint(block / step) * step, norm="ortho")
    return out


def _several(image: Float, g: np.random.Generator) -> Float:
    return augmented(augmented(augmented(image, "flip", g), "rotation", g), "gamma", g)


CHANGES: dict[str, Change] = {
    "none": lambda image, g: image.copy(),
    "flip left-right": lambda image, g: augmented(image, "flip", g),
    "quarter turn": lambda image, g: augmented(image, "quarter turn", g),
    "rotation 3 to 15 degrees": lambda image, g: augmented(image, "rotation", g),
    "rotation 25 to 65 degrees": lambda image, g: moved(image, float(g.uniform(25, 65)), 1.0),
    "shift 1 or 2 px (cyclic)": lambda image, g: augmented(image, "shift", g),
    "scale 0.92 to 1.08": lambda image, g: augmented(image, "scale", g),
    "crop to 90 % of the side": lambda image, g: cropped(image, 0.9, g),
    "crop to 80 % of the side": lambda image, g: cropped(image, 0.8, g),
    "gamma 0.8 or 1.25": lambda image, g: augmented(image, "gamma", g),
    "gain 0.8, offset 0.05": lambda image, g: (0.8 * image + 0.05).astype(np.float32),
    "noise 2 %": lambda image, g: augmented(image, "noise", g),
    "noise 5 %": lambda image, g: augmented(image, "strong noise", g),
    "blur 0.6 to 1.2 px": lambda image, g: augmented(image, "blur", g),
    "JPEG, quality 75": lambda image, g: compressed(image, 75),
    "JPEG, quality 30": lambda image, g: compressed(image, 30),
    "coarse 8 x 8 blocks": _coarse_blocks,
    "flip, rotation and gamma": _several,
}


class Planted:
    """A cohort of which some test cases show another case's image after a change."""

    def __init__(self, cohort: Cohort, share: float, seed: int) -> None:
        self._cohort, self.cases = cohort, cohort.cases
        test, train = subset(cohort.cases, "test"), subset(cohort.cases, "train")
        g = rng.child(seed, "hygiene")
        order, many = g.permutation(len(test)), round(share * len(test))
        from_train, from_test = g.permutation(len(train)), order[many:]
        self.source: dict[str, tuple[Case, str]] = {}
        names = list(CHANGES)
        for k, i in enumerate(order[:many].tolist()):
            source = train[from_train[k // 2]] if k % 2 == 0 else test[from_test[(k // 2) % len(from_test)]]
            self.source[test[i].case_id] = (source, names[(k // 2) % len(names)])
        self._seed = seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        """The pixels of a case, or what stands in their place."""
        if case.case_id not in self.source:
            return self._cohort.load(case)
        source, change = self.source[case.case_id]
        images = self._cohort.load(source)
        g = rng.child(self._seed, "change", case.case_id)
        image = CHANGES[change](images.image[0], g)[None]
        return CaseImages(np.ascontiguousarray(image, np.float32), None, images.lesion_mask, images.spacing_mm)


@dataclass
class Run:
    """What the search needs of a run."""

    cohort: Any
    engine: Engine = field(default_factory=LocalEngine)
    seed: int = 0
    shared: dict[str, Any] = field(default_factory=dict)


class Found(NamedTuple):
    """What one method found."""

    hits: dict[str, list[bool]]
    """By change and where the source stands: whether each planted image was found with its source."""
    false_alarms: int
    """Test images that show what they should and were paired with another patient's image that does."""
    seconds: float
    cpu: float


def judged(pairs: Pairs, planted: Planted, seconds: float, cpu: float) -> Found:
    """Pairs of case ids, the test image second, held against what was planted."""
    patients = {case.case_id: case.patient_id for case in planted.cases}
    hits: dict[str, list[bool]] = defaultdict(list)
    for name, (source, change) in planted.source.items():
        hit = (source.case_id, name) in pairs or (name, source.case_id) in pairs
        hits[f"{change}|{source.partition}"].append(hit)
    tests = {case.case_id for case in subset(planted.cases, "test")}
    wrong = {
        name
        for pair in pairs
        if not set(pair) & set(planted.source) and patients[pair[0]] != patients[pair[1]]
        for name in pair
        if name in tests
    }
    return Found(dict(hits), len(wrong), seconds, cpu)


def searched(planted: Planted) -> tuple[Found, float]:
    """What medgan-qa finds, and the seconds that reading took, which count apart."""
    run = Run(planted)
    began = time.perf_counter()
    partition(run, "test")
    partition(run, "train")
    read, cpu = time.perf_counter() - began, time.process_time()
    began = time.perf_counter()
    same = same_images(run, Rule())
    assert same.missing is None, same.missing
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    every = [*same.across(), *same.within_test()]
    pairs = {(same.cases[pair.one].case_id, same.cases[pair.other].case_id) for pair in every}
    return judged(pairs, planted, seconds, cpu), read


def hashed(planted: Planted, images: dict[str, NDArray[np.uint8]], peer: str) -> Found:
    """What a peer finds: all pairs of a test image with any other whose hashes are near."""
    began, cpu = time.perf_counter(), time.process_time()
    bits = np.stack([_bits(image, peer) for image in images.values()])
    signs = np.where(bits, 1.0, -1.0).astype(np.float32)
    names = list(images)
    tests = [k for k, case in enumerate(planted.cases) if case.partition == "test"]
    most = IMAGEDEDUP_BITS if peer.startswith("imagededup") else IMAGEHASH_BITS
    pairs: Pairs = set()
    for k in tests:
        apart = (signs.shape[1] - signs @ signs[k]) / 2
        near = np.flatnonzero(apart <= most)
        pairs |= {(names[j], names[k]) for j in near.tolist() if j != k}
    return judged(pairs, planted, time.perf_counter() - began, time.process_time() - cpu)


def _bits(image: NDArray[np.uint8], peer: str) -> NDArray[np.bool_]:
    if peer == "imagededup PHash":
        from imagededup.methods import PHash

        text = PHash(verbose=False).encode_image(image_array=np.repeat(image[:, :, None], 3, axis=2))
        return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).astype(bool)
    import imagehash
    from PIL import Image

    made = getattr(imagehash, peer.removeprefix("imagehash "))(Image.fromarray(image))
    bits: NDArray[np.bool_] = made.hash.ravel()
    return bits


PEERS = ("imagehash phash", "imagehash dhash", "imagehash whash", "imagededup PHash")


def rows(images: int, share: float, seeds: int, peers: Sequence[str]) -> Iterator[str]:
    """The table, line by line."""
    began = time.perf_counter()
    clean = BrainSlices(people=images // 4)
    test, train = subset(clean.cases, "test"), subset(clean.cases, "train")
    yield f"{len(test)} test, {len(train)} train images; {share:.1%} of test planted; {seeds} seed(s)"
    yield f"drawing the patients: {time.perf_counter() - began:.0f} s"
    every: dict[str, list[Found]] = defaultdict(list)
    for seed in range(seeds):
        planted = Planted(clean, share, seed)
        found, read = searched(planted)
        every["medgan-qa"].append(found)
        yield (
            f"seed {seed}: rendering and reading {read:.0f} s, search {found.seconds:.0f} s ({found.cpu:.0f} s of "
            f"processor), peak memory {_peak_gb():.2f} GB"
        )
        if peers:
            seen = {case.case_id: _as_bytes(planted.load(case).image[0]) for case in planted.cases}
            for peer in peers:
                every[peer].append(hashed(planted, seen, peer))
    yield from _table(every, len(test))


def _peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def _as_bytes(image: Float) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _table(every: dict[str, list[Found]], tests: int) -> Iterator[str]:
    """Recall by change of every method: of images of train found in test, and of images of test found in test."""
    yield "| change | planted | " + " | ".join(f"{name}: from train, from test" for name in every) + " |"
    yield "| --- | ---: |" + " ---: |" * len(every)
    for change in CHANGES:
        planted = sum(len(f.hits.get(f"{change}|{p}", [])) for f in every["medgan-qa"] for p in ("train", "test"))
        cells = [
            ", ".join(
                _share([hit for f in found for hit in f.hits.get(f"{change}|{p}", [])]) for p in ("train", "test")
            )
            for found in every.values()
        ]
        yield f"| {change} | {planted} | " + " | ".join(cells) + " |"
    alarms = [f"{sum(f.false_alarms for f in found)} of {tests * len(found)}" for found in every.values()]
    yield "| test images flagged by mistake | | " + " | ".join(alarms) + " |"
    seconds = [f"{np.mean([f.seconds for f in found]):.1f}" for found in every.values()]
    yield "| seconds a run | | " + " | ".join(seconds) + " |"


def _share(hits: Sequence[bool]) -> str:
    return f"{np.mean(hits):.0%}" if hits else "-"


def volume_rows(seeds: int, people: int = 24, slices: int = 6) -> Iterator[str]:
    """Volumes of train in test under another name, cut half-way between its slices: how many are told, by distance."""
    yield f"{people} volumes of {slices} slices in train and in test, two leaked; {seeds} seed(s)"
    yield "| test slice to nearest train slice, mm | leaked | told | told by mistake |"
    yield "| ---: | ---: | ---: | ---: |"
    for gap in (0.5, 1.0, 2.0, 4.0):
        told: list[tuple[str, str]] = []
        for seed in range(seeds):
            stacks = Stacks({0: "between", 1: "between"}, people=people, slices=slices, gap_mm=gap, seed=seed)
            told += [(one.test, one.other) for one in leaked_volumes(same_images(Run(stacks), Rule()), 0.05)]
        right = sum(test.replace("test-", "train-") == other for test, other in told)
        yield f"| {gap / 2:g} | {2 * seeds} | {right} | {len(told) - right} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="in all, half of them test; at least 80")
    parser.add_argument("--share", type=float, default=0.1, help="of the test images that are planted")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="imagehash and imagededup on the same images")
    parser.add_argument("--volumes", action="store_true", help="volumes whose neighbouring slices stand in train")
    given = parser.parse_args()
    peers = PEERS if given.peers else ()
    lines = volume_rows(given.seeds) if given.volumes else rows(given.images, given.share, given.seeds, peers)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
