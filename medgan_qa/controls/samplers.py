"""Samplers with a planted defect, and one without: what the audits of the synthesis suite must find, or let pass.

A planted sampler draws fresh phantom patients, of the same population as its cohort and shared with none of its
partitions, and does one known thing wrong. It is a function of its latent vector like any sampler: the same vector
gives the same image. Nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, subset
from medgan_qa.cohorts.phantom import MODES, PLANS, BrainSlices, mode_slice
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render
from medgan_qa.cohorts.phantom_spec import SliceSpec, draw_patient, draw_slices
from medgan_qa.controls.named import NamedControl
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import components, equivalent_diameter
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.networks import Network
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Generator = np.random.Generator
LATENT = 8

TRANSFORMS = ("flip", "quarter turn", "shift", "gamma", "noise")
"""What a copy is disguised by, in turn."""


class Named(Protocol):
    """Anything that says what it is."""

    @property
    def name(self) -> str:
        """What reports call it."""


class World:
    """What a planted sampler may use: fresh patients of the cohort's population, and the cohort's training images."""

    def __init__(self, cohort: BrainSlices) -> None:
        self.cohort = cohort
        self.training = subset(cohort.cases, "train")
        self.lesioned = [case for case in self.training if self._shows_lesion(case)]

    def _shows_lesion(self, case: Case) -> bool:
        lesion = (case.spec or {}).get("patient", {}).get("lesion")
        return lesion is not None and bool(np.any(self.cohort.load(case).lesion_mask))

    def fresh(self, g: Generator, mode: int | None = None, accept: Callable[[SliceSpec], bool] | None = None) -> Float:
        """(H, W) slice of a patient whom nobody has seen; of `mode` where the cohort has modes."""
        while True:
            spec = self._draw(g)
            if accept is None or accept(spec):
                break
        contrast = self.cohort.contrast
        if self.cohort.modes:
            spec, contrast = mode_slice(spec, int(g.integers(len(MODES))) if mode is None else mode)
        return render(spec, contrast, self.cohort.size, anatomy(spec, self.cohort.size))

    def _draw(self, g: Generator) -> SliceSpec:
        plan = PLANS[int(g.integers(len(PLANS)))]
        patient = draw_patient(self.cohort.seed, f"control-{g.integers(2**62):016x}", lesion=plan != "none")
        return draw_slices(self.cohort.seed, patient, plan)[int(g.integers(2))]

    def training_images(self, case: Case) -> CaseImages:
        """A training case's pixels."""
        return self.cohort.load(case)


class Plan(Protocol):
    """How a planted sampler makes one image."""

    @property
    def name(self) -> str:
        """What the fault is called."""

    def draw(self, world: World, g: Generator) -> Float:
        """One image (H, W) in unit range from a generator of its own."""


@dataclass(frozen=True)
class Independent:
    """Other patients of the same population: a sampler without a fault."""

    name: str = "independent patients"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient."""
        return world.fresh(g)


@dataclass(frozen=True)
class ModesKept:
    """Only the first `kept` of ten modes (on a cohort with modes)."""

    kept: int
    name: str = "modes kept"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient of a kept mode."""
        return world.fresh(g, mode=int(g.integers(self.kept)))


@dataclass(frozen=True)
class ModesReweighted:
    """Every mode, the first half of them with a share of `major` together."""

    major: float = 0.99
    name: str = "modes reweighted"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient of a mode drawn by weight."""
        half = len(MODES) // 2
        return world.fresh(g, mode=int(g.integers(half)) + (0 if g.random() < self.major else half))


@dataclass(frozen=True)
class Shrunken:
    """A spread of a hundredth about a typical image, shifted: what separate normalisation of both sets would hide."""

    spread: float = 0.01
    shift: float = 0.1
    name: str = "shrunken"

    def draw(self, world: World, g: Generator) -> Float:
        """Almost the same image, brighter."""
        centre = world.training_images(world.training[0]).image[0]
        image = centre + np.float32(self.spread) * (world.fresh(g) - centre) + np.float32(self.shift)
        return np.asarray(image, dtype=np.float32)


@dataclass(frozen=True)
class Fixed:
    """The same value everywhere, in a share `dose` of the images; NaN is a value too."""

    value: float = 0.5
    dose: float = 1.0
    name: str = "fixed"

    def draw(self, world: World, g: Generator) -> Float:
        """A constant image or a fresh patient."""
        image = world.fresh(g)
        return np.full_like(image, self.value) if g.random() < self.dose else image


@dataclass(frozen=True)
class Clipped:
    """Intensities times `gain`, cut at the end of the range and kept in 8 bits: a 12-bit image read as 8-bit."""

    gain: float = 4.0
    name: str = "clipped"

    def draw(self, world: World, g: Generator) -> Float:
        """A saturated patient."""
        brighter = np.clip(world.fresh(g) * np.float32(self.gain), 0, 1)
        return np.asarray(np.rint(255 * brighter) / 255, dtype=np.float32)


@dataclass(frozen=True)
class Checkerboard:
    """A period-two grid of `amplitude` (unit range) over the image, as transposed convolutions leave it."""

    amplitude: float = 0.02
    name: str = "checkerboard"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient under a grid."""
        image = world.fresh(g)
        rows, columns = np.indices(image.shape)
        return (image + np.float32(self.amplitude) * np.where((rows + columns) % 2, 1, -1)).astype(np.float32)


@dataclass(frozen=True)
class Dropped:
    """Nobody of a subgroup: `older` years or more, of `site`, with a lesion of `radius` mm or more.

    With `shown`, no slice whose largest lesion has an equivalent diameter of so many mm or more, as a mask of it says;
    other slices of the same patients stay.
    """

    older: int | None = None
    site: str | None = None
    radius: float | None = None
    shown: float | None = None
    name: str = "subgroup dropped"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient outside the subgroup."""
        size = world.cohort.size
        return world.fresh(g, accept=lambda spec: self._outside(spec) and not self._shows(spec, size))

    def _shows(self, spec: SliceSpec, size: int) -> bool:
        if self.shown is None or spec.patient.lesion is None:
            return False
        spacing = (pixel_mm(size), pixel_mm(size))
        diameters = (equivalent_diameter(one, spacing) for one in components(anatomy(spec, size).mask))
        return max(diameters, default=0.0) >= self.shown

    def _outside(self, spec: SliceSpec) -> bool:
        patient = spec.patient
        lesion = patient.lesion
        return not (
            (self.older is not None and patient.age_years >= self.older)
            or (self.site is not None and patient.site == self.site)
            or (self.radius is not None and lesion is not None and lesion.radius_mm >= self.radius)
        )


@dataclass(frozen=True)
class Copies:
    """Training images in a share `dose` of the samples, disguised by one transform after the other or not at all."""

    dose: float
    disguises: tuple[str, ...] = ()
    name: str = "copies"

    def draw(self, world: World, g: Generator) -> Float:
        """A copy or a fresh patient."""
        # Both are drawn, so that doses nest and the other images stay what they are.
        image, chosen = world.fresh(g), world.training[int(g.integers(len(world.training)))]
        if g.random() >= self.dose:
            return image
        copy = world.training_images(chosen).image[0]
        return disguised(copy, self.disguises[int(g.integers(len(self.disguises)))], g) if self.disguises else copy


@dataclass(frozen=True)
class Pasted:
    """The lesion of a training patient cut out and pasted into fresh patients, in a share `dose` of the samples."""

    dose: float
    name: str = "pasted lesions"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient, with somebody else's lesion or without."""
        image, chosen = world.fresh(g).copy(), world.lesioned[int(g.integers(len(world.lesioned)))]
        if g.random() >= self.dose:
            return image
        given = world.training_images(chosen)
        mask = ndimage.binary_dilation(given.lesion_mask, np.ones((3, 3), bool), iterations=2)
        image[mask] = given.image[0][mask]
        return image


def disguised(image: Float, disguise: str, g: Generator) -> Float:
    """An image under one of `TRANSFORMS`."""
    if disguise == "flip":
        return np.ascontiguousarray(image[:, ::-1])
    if disguise == "quarter turn":
        return np.ascontiguousarray(np.rot90(image, int(g.choice([1, 3]))))
    if disguise == "shift":
        dy, dx = g.choice([-2, -1, 1, 2], size=2)
        return np.roll(image, (int(dy), int(dx)), axis=(0, 1))
    if disguise == "gamma":
        return (np.clip(image, 0, 1) ** np.float32(g.choice([0.8, 1.25]))).astype(np.float32)
    if disguise == "noise":
        return (image + np.float32(0.02) * g.standard_normal(image.shape)).astype(np.float32)
    raise ValueError(f"no such disguise: {disguise!r}")


class _PlantedNetwork:
    """Latent vectors in, images out; every image has a generator made from its own vector."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world, self.plan = world, plan

    def __call__(self, x: Float, seed: int) -> Float:
        return np.stack([self.plan.draw(self.world, _generator(z))[None] for z in x])


def _generator(z: Float) -> Generator:
    digest = hashlib.sha256(np.ascontiguousarray(z, np.float32).tobytes()).digest()
    return rng.child(int.from_bytes(digest[:8], "big"), "planted sampler")


def planted_sampler(cohort: BrainSlices, plan: Plan) -> Subject:
    """A sampler of the cohort's population that follows `plan`."""
    return sampler_subject(_PlantedNetwork(World(cohort), plan), plan, cohort)


def sampler_subject(network: Network, plan: Named, cohort: BrainSlices, classes: tuple[str, ...] = ()) -> Subject:
    """A planted sampler with its card; its digest is that of the plan and of the cohort it draws like."""
    card = Card(
        name=f"control: {plan.name}",
        version="1",
        task="synthesis",
        channels_in=1,
        channels_out=1,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        latent_dim=LATENT,
        classes=classes,
        output_role="training_only",
        training_data="none",
        extra={"control": repr(plan)},
    )
    digest = hashlib.sha256(f"{plan!r} on {cohort.digest()}".encode()).hexdigest()
    path = Path(f"control-{plan.name.replace(' ', '-')}")
    return Subject(network, card, path, "control", digest, "cpu")


class DuplicatedTraining:
    """A cohort of which a share of the training images stands in the training set `times` over.

    The copies come as cases of their own patients, as when one patient was enrolled under two identifiers.
    """

    def __init__(self, cohort: BrainSlices, share: float = 0.1, times: int = 3) -> None:
        self._cohort = cohort
        train = subset(cohort.cases, "train")
        chosen = train[: round(share * len(train))]
        again = [
            Case(**{**vars(case), "case_id": f"{case.case_id}-again{k}", "patient_id": f"{case.patient_id}-again{k}"})
            for case in chosen
            for k in range(1, times)
        ]
        self._origin = {copy.case_id: copy.case_id.rpartition("-again")[0] for copy in again}
        self._by_id = {case.case_id: case for case in cohort.cases}
        self.cases = (*cohort.cases, *again)

    def __getattr__(self, name: str) -> object:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        """Pixels of a case or of what it duplicates."""
        return self._cohort.load(self._by_id[self._origin.get(case.case_id, case.case_id)])

    def digest(self) -> str:
        """SHA-256 of the cohort and of what was duplicated."""
        return hashlib.sha256(f"{self._cohort.digest()} {sorted(self._origin)}".encode()).hexdigest()


def _named(title: str, plan: Plan) -> NamedControl:
    def make(cohort: Cohort) -> Subject:
        if not isinstance(cohort, BrainSlices):
            raise ConfigurationError(
                "Controls draw new patients, which needs an embedded cohort.",
                expected="phantom:brain-flair or phantom:brain-modes",
                found=cohort.name,
                where="--data",
                todo="Leave --data out, or name one of them.",
            )
        return planted_sampler(cohort, plan)

    return NamedControl(title, make)


PLANS_BY_NAME: dict[str, tuple[str, Plan]] = {
    "independent": ("no fault: other patients of the same population", Independent()),
    "modes-9": ("nine of ten modes (phantom:brain-modes)", ModesKept(9)),
    "modes-7": ("seven of ten modes (phantom:brain-modes)", ModesKept(7)),
    "modes-5": ("five of ten modes (phantom:brain-modes)", ModesKept(5)),
    "modes-1": ("one of ten modes (phantom:brain-modes)", ModesKept(1)),
    "weights": ("all modes, weights 99 to 1 (phantom:brain-modes)", ModesReweighted()),
    "shrunken": ("a hundredth of the spread, shifted", Shrunken()),
    "constant": ("the same grey everywhere", Fixed()),
    "nan": ("NaN in one image of ten", Fixed(float("nan"), dose=0.1, name="not a number")),
    "clipped": ("saturated, 8 bits", Clipped()),
    "checkerboard": ("a grid of 2 % over every image", Checkerboard()),
    "dropped": ("no lesion of 40 mm or more, one slice in sixteen", Dropped(shown=40.0)),
    "copies-1": ("1 % copies of training images", Copies(0.01)),
    "copies-2": ("2 % copies of training images", Copies(0.02)),
    "copies-5": ("5 % copies of training images", Copies(0.05)),
    "copies-20": ("20 % copies of training images", Copies(0.20)),
    "copies-disguised": ("5 % copies, flipped, turned, shifted, gamma or noise", Copies(0.05, TRANSFORMS)),
    "pasted": ("a training patient's lesion in 10 % of the samples", Pasted(0.10)),
}
"""Planted samplers by name: what they are, and what they do."""

CONTROLS: dict[str, NamedControl] = {name: _named(title, plan) for name, (title, plan) in PLANS_BY_NAME.items()}
"""Planted samplers by name, for `medgan-qa audit control:NAME --suite synthesis`."""
