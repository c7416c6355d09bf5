"""A synthesis run: real images, training images and samples, with their features, shared by the audits of the suite.

The test partition is the reference for fidelity and coverage; the train partition is what may have been memorized; real
train against real test is the null that stands beside every value. Everything is made on first use and kept: in
memory, or in a scratch file where memory is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.run import NotFiniteError, for_detector
from medgan_qa.audits.streaming import AT_ONCE, is_constant, is_finite, loaded
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, Partition, patients, subset
from medgan_qa.engines import Engine
from medgan_qa.engines.scratch import Shelf
from medgan_qa.errors import DatasetError, ModelError
from medgan_qa.stats import draw_halves
from medgan_qa.subjects.protocols import SAMPLE_BATCH, Subject
from medgan_qa.subjects.stored import StoredSet

if TYPE_CHECKING:
    from medgan_qa.features.extractor import Extractor
    from medgan_qa.features.store import FeatureStore

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

CHECKED = 8
"""Images that are drawn again to see whether the sampler repeats itself."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of one origin."""

    images: Float
    """(N, C, H, W) in unit range."""
    names: tuple[str, ...]
    """(N,) case ids, or `sample-00017`."""
    patients: tuple[str, ...]
    """(N,) the independent unit of each image; every sample is its own, and a stored set's table names them."""
    cases: tuple[Case, ...] = ()
    """(N,) for real images; empty for samples."""
    masks: tuple[Bool | None, ...] = ()
    """(N,) lesion masks of real images, (H, W); None where not annotated."""
    spacing_mm: tuple[float, float] = (1.0, 1.0)
    """Pixel spacing (dy, dx) of the first image; samples have the reference's."""
    shelf: Shelf | None = None
    """Where images that are made of these are kept; None: in memory."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def grey(self) -> Float:
        """(N, H, W), the mean over channels."""
        if self.images.shape[1] == 1:
            return self.images[:, 0]
        if self.shelf is None:
            grey: Float = self.images.mean(axis=1, dtype=np.float32)
            return grey
        parts = (self.images[k : k + AT_ONCE] for k in range(0, len(self), AT_ONCE))
        means = (image for part in parts for image in part.mean(axis=1, dtype=np.float32))
        return self.shelf.series(len(self)).extended(means)

    def take(self, index: NDArray[np.intp]) -> Pictures:
        """Some of them, in the order of `index`."""

        def pick(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in index) if values else ()

        return Pictures(
            self.images[index] if self.shelf is None else self.shelf.picked(self.images, index),
            pick(self.names),
            pick(self.patients),
            pick(self.cases),
            pick(self.masks),
            self.spacing_mm,
            self.shelf,
        )


@dataclass(frozen=True, eq=False)
class Space:
    """Every image as a vector of one extractor's features, where they have units in those of the real reference."""

    name: str
    identity: dict[str, Any]
    """Name, version and digest of the extractor, for the Record."""
    reference: Float
    """(n, D)"""
    generated: Float
    """(m, D)"""
    train: Float | None
    """(t, D); None without a train partition."""
    notes: tuple[str, ...]


class SynthesisRun:
    """Sampler and cohort, with everything computed from them once.

    Args:
        subject: the sampler under audit.
        cohort: the cases; `test` is the reference, `train` what may have been memorized.
        detector: a segmenter whose marks are measured as anatomy, or None.
        engine: maps over images.
        seed: the run's seed; it names every random stream.
        samples: images to draw; None: as many as the reference has, or all of a stored set.
        extractors: names of the feature extractors; criteria speak about the first.
        resamples: half samples behind every interval.
        store: keeps features between runs; None computes them anew.
        discriminator: the sampler's own discriminator, for membership inference, or None.
    """

    def __init__(
        self,
        subject: Subject,
        cohort: Cohort,
        detector: Subject | None,
        engine: Engine,
        seed: int,
        *,
        samples: int | None = None,
        extractors: tuple[str, ...] = ("radiomic", "pixels"),
        resamples: int = 200,
        store: FeatureStore | None = None,
        discriminator: Subject | None = None,
    ) -> None:
        self.subject, self.cohort, self.detector, self.engine = subject, cohort, detector, engine
        self.seed, self.samples, self.resamples = seed, samples, resamples
        self.extractors, self.store, self.discriminator = tuple(dict.fromkeys(extractors)), store, discriminator
        self._spaces: dict[str, Space] = {}
        self._made: dict[str, Extractor] = {}
        self.shared: dict[str, Any] = {}
        """What one audit computed and another may need, by name."""
        self.shelf = Shelf()
        """Where images are kept."""

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Test, and train where there is one."""
        return ("test", "train") if subset(self.cohort.cases, "train") else ("test",)

    @property
    def options(self) -> dict[str, Any]:
        """Samples, extractors, resamples."""
        return {
            "samples": len(self.sampled),
            "extractors": [space.identity for space in self._spaces.values()],
            "resamples": self.resamples,
        }

    @property
    def primary(self) -> str:
        """The extractor that default criteria speak about."""
        return self.extractors[0]

    def dry_run(self) -> None:
        """Draw two images, compare their shape with the reference's, and find every extractor.

        Raises:
            ConfigurationError, MissingDependencyError: an extractor cannot be had.
            ModelError: the samples have another shape than the real images.
        """
        for name in self.extractors:
            self._extractor(name)
        case = subset(self.cohort.cases, "test")[0]
        image = self.cohort.load(case).image
        expected, found = image.shape, self.subject.sample(2, self.seed).shape[1:]
        if tuple(found) != tuple(expected):
            raise ModelError(
                "The samples have another shape than the real images.",
                expected=f"{expected} (channels, rows, columns), as case {case.case_id}",
                found=str(tuple(found)),
                where=self.subject.path,
                todo="Audit the sampler against images of its own size and channels.",
            )
        if self.detector is not None:
            self.detector.read(for_detector(image, self.detector)[None])
        if self.discriminator is not None:
            self.discriminator.score(image[None])

    @cached_property
    def reference(self) -> Pictures:
        """The test partition."""
        return self._read("test")

    @cached_property
    def train(self) -> Pictures | None:
        """The train partition; None where the cohort holds none."""
        return self._read("train") if "train" in self.partitions else None

    @cached_property
    def sampled(self) -> Pictures:
        """What the sampler drew, or what a stored set holds, as it came."""
        stored = self.subject if isinstance(self.subject, StoredSet) else None
        n = self.samples or (len(subset(self.cohort.cases, "test")) if stored is None else len(stored))

        series = self.shelf.series(n)

        def draw(first: int) -> None:
            for image in self.subject.sample(min(SAMPLE_BATCH, n - first), self.seed, first):
                series.append(image)

        self.engine.map(draw, range(0, n, SAMPLE_BATCH), label="Drawing samples")
        names = tuple(f"sample-{k:05d}" for k in range(n)) if stored is None else stored.names[:n]
        units = names if stored is None else stored.units[:n]
        return Pictures(series.array, names, units, spacing_mm=self.reference.spacing_mm, shelf=self.shelf)

    @cached_property
    def _broken(self) -> NDArray[np.intp]:
        """The samples that hold NaN or infinity."""
        return np.flatnonzero(~is_finite(self.sampled.images))

    @cached_property
    def generated(self) -> Pictures:
        """The samples, all of them finite.

        Raises:
            NotFiniteError: a sample holds NaN or infinity.
        """
        bad = self._broken
        if bad.size:
            raise NotFiniteError(
                f"The model returned NaN or infinity in {bad.size} of {len(self.sampled)} images.",
                expected="finite numbers in every image",
                found=f"first in {', '.join(self.sampled.names[k] for k in bad[:5])}",
                where=self.subject.path,
                todo="Repair the model; images that are not numbers are a failure, not a case to leave out.",
            )
        return self.sampled

    def space(self, name: str | None = None) -> Space:
        """The features of one extractor (the primary one by default), computed on first use.

        Raises:
            NotFiniteError: a sample holds NaN or infinity.
            ConfigurationError, MissingDependencyError: the extractor cannot be had.
        """
        name = name or self.primary
        if name not in self._spaces:
            self._spaces[name] = self._extract(name)
        return self._spaces[name]

    @cached_property
    def null(self) -> NDArray[np.intp] | None:
        """Training images that stand in for samples in the comparison of real with real: as many, whole patients.

        None without a train partition. Where the train partition is smaller than the samples, all of it.
        """
        if self.train is None:
            return None
        order = rng.child(self.seed, "null").permutation(np.array(patients(self.train.cases)))
        rank = {patient: k for k, patient in enumerate(order)}
        index = sorted(range(len(self.train)), key=lambda i: (rank[self.train.patients[i]], i))  # type: ignore[union-attr]
        return np.array(index[: len(self.sampled)], dtype=np.intp)

    @cached_property
    def halves(self) -> dict[str, Bool]:
        """Half samples by patient, (resamples, N) each, of `reference`, `generated` and `null`."""
        groups = {"reference": self.reference.patients, "generated": self.sampled.patients}
        if self.train is not None and self.null is not None:
            groups["null"] = tuple(self.train.patients[i] for i in self.null)
        return {
            name: draw_halves(clusters, self.resamples, rng.child(self.seed, "halves", name))
            for name, clusters in groups.items()
        }

    def deviations(self) -> list[str]:
        """Samples that are not numbers or all alike, a sampler that does not repeat or ignores what it is given."""
        found, images = [], self.sampled.images
        if self._broken.size:
            found.append(f"The model returned NaN or infinity in {self._broken.size} of {len(images)} samples.")
        constant = int(is_constant(images).sum())
        if constant:
            found.append(f"{constant} of {len(images)} samples are constant images.")
        if not isinstance(self.subject, StoredSet):
            found += self._unsteady(images[:CHECKED])
        notes = (note for space in self._spaces.values() for note in space.notes)
        return [*found, *dict.fromkeys(notes)]

    def _unsteady(self, first: Float) -> list[str]:
        """A sampler that draws other images from the same latent vectors, or the same from others."""
        found = []
        again = self.subject.sample(len(first), self.seed)
        if not np.array_equal(first, again, equal_nan=True):
            both = np.isfinite(first) & np.isfinite(again)
            apart = float(np.abs(first[both] - again[both]).max(initial=0.0))
            found.append(
                f"The model is not deterministic: the same latent vectors gave other images (largest difference "
                f"{apart:.3g} in unit range), so this run cannot be repeated exactly."
            )
        other = self.subject.sample(len(first), rng.child_seed(self.seed, "another seed"))
        if np.array_equal(first, other, equal_nan=True):
            found.append("The model ignores its latent vector: another seed gave the same images.")
        return found

    def _read(self, partition: Partition) -> Pictures:
        cases = subset(self.cohort.cases, partition)
        series, shapes, rest = self.shelf.series(len(cases)), set(), []

        def keep(held: tuple[Case, CaseImages]) -> None:
            _, images = held
            shapes.add(images.image.shape)
            # Images of a second size are an error, and reading on tells how many sizes there are.
            if len(shapes) == 1:
                series.append(images.image)
                rest.append((self._mask(images), images.spacing_mm))

        self.engine.map(keep, loaded(self.cohort, cases), label=f"Reading {partition} images")
        if len(shapes) > 1:
            raise DatasetError(
                "The images of the cohort differ in size.",
                expected="one size: features and samples are compared image with image",
                found=f"{len(shapes)} sizes, among them {', '.join(map(str, sorted(shapes)[:3]))}",
                where=self.cohort.name,
                todo="Crop or resample them to the size that the model makes.",
            )
        return Pictures(
            series.array,
            tuple(case.case_id for case in cases),
            tuple(case.patient_id for case in cases),
            cases,
            tuple(mask for mask, _ in rest),
            rest[0][1],
            self.shelf,
        )

    def _mask(self, images: CaseImages) -> Bool | None:
        return None if images.lesion_mask is None else self.shelf.keep(images.lesion_mask)

    def _extractor(self, name: str) -> Extractor:
        """Made once: the dry run finds it, and a network is not loaded twice."""
        from medgan_qa.features.extractor import extractor

        if name not in self._made:
            self._made[name] = extractor(name, self.subject.device)
        return self._made[name]

    def _extract(self, name: str) -> Space:
        from medgan_qa.features.normalise import Standardiser
        from medgan_qa.features.store import FeatureStore

        made = self._extractor(name)
        sets = {"reference": self.reference, "generated": self.generated}
        if self.train is not None:
            sets["train"] = self.train
        store = self.store or FeatureStore(None)
        raw = {
            key: store.compute(made, pictures.images, self.engine, label=f"Features: {name}")
            for key, pictures in sets.items()
        }
        standardised = bool(getattr(made, "in_reference_units", False))
        if standardised:
            scale = Standardiser.fit(raw["reference"])
            raw = {key: scale.apply(values).astype(np.float32) for key, values in raw.items()}
        identity = {
            "name": made.name,
            "version": made.version,
            "digest": made.digest,
            "features": raw["reference"].shape[1],
            "in_units_of_the_reference": standardised,
        }
        return Space(name, identity, raw["reference"], raw["generated"], raw.get("train"), tuple(store.warnings))
