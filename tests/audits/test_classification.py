"""The run of the suite: which cases it scores, what it makes of labels, and a whole suite on a model from disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medgan_qa.audits.classification import ClassificationRun, said
from medgan_qa.audits.discrimination import discrimination
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.cohorts.cohort import Case, CaseImages, subset
from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.controls.classifiers import Constant, Faithful, Overconfident, planted_classifier
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError, DatasetError, ModelError
from medgan_qa.record import Verdict
from medgan_qa.runner import run_audit
from medgan_qa.runner.parameters import parameters
from medgan_qa.subjects.card import parse_card
from medgan_qa.subjects.load import load_subject
from medgan_qa.suites import suite

ALONE = ("DIS-001", "DIS-002", "DIS-003", "DIS-004", "DIS-005", "DIS-006", "ROB-004")


class Drawn:
    """Bright and dark squares with a label; everything about a case is given."""

    name, phantom, value_range = "drawn", False, (0.0, 1.0)
    source_domain = target_domain = None
    lesion_in: tuple[str, ...] = ()
    excluded = ()

    def __init__(self, labels, levels=None, sides=None, masks=None):
        self.levels = levels if levels is not None else [float(label == "malignant") for label in labels]
        self.sides, self.masks = sides or [16] * len(labels), masks or [None] * len(labels)
        self.cases = tuple(
            Case(f"c{k}", f"p{k}", "test", False, False, False, label=label) for k, label in enumerate(labels)
        )

    def load(self, case):
        k = int(case.case_id[1:])
        side = self.sides[k]
        image = np.random.default_rng(k).random((1, side, side), dtype=np.float32) * np.float32(0.1)
        image[:, 4:-4, 4:-4] += np.float32(0.4 + 0.3 * self.levels[k])
        return CaseImages(image, None, self.masks[k], (1.0, 1.0))


class Brightness:
    """Ten times the mean, from its middle."""

    name = "brightness"

    def __init__(self):
        self.seen = []

    def logits(self, images):
        self.seen.append(images.shape)
        return 40 * (images[:, 6:-6, 6:-6].mean(axis=(1, 2)) - 0.55)


def run_of(cohort, classifier=None, **card):
    card = {"classes": ("benign", "malignant"), **card}
    return ClassificationRun(planted_classifier(classifier or Brightness(), **card), cohort, None, LocalEngine(), 0)


def test_the_last_class_of_the_card_is_the_one_that_logits_speak_for():
    cohort = Drawn(["benign", "malignant"] * 10)
    run, turned = run_of(cohort), run_of(cohort, classes=("malignant", "benign"))

    assert [item.positive for item in run.items] == [False, True] * 10
    assert discrimination(run).estimates[0].measurement.value == 1.0
    assert discrimination(turned).estimates[0].measurement.value == 0.0


def test_cases_without_a_class_are_left_out_with_the_reason():
    run = run_of(Drawn(["benign", "malignant", None, "unclear"] * 5))
    findings = discrimination(run)

    assert len(run.items) == 10
    assert findings.excluded["c2"] == "no label, and nobody looked for lesions"
    assert findings.excluded["c3"] == "labelled unclear, which is none of the classes"
    assert len(findings.excluded) == 10
    assert findings.estimates[0].measurement.n == 10


def test_lesions_are_the_label_where_there_is_no_other():
    lesion, free = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
    lesion[6:9, 6:9] = True
    cohort = Drawn([None] * 12, levels=[1.0, 0.0] * 6, masks=[lesion, free] * 6)
    run = run_of(cohort, classes=())
    assert run.classes == ("lesion-free", "lesion")
    assert [item.positive for item in run.items] == [True, False] * 6
    assert run.items[0].lesion is lesion


@pytest.mark.parametrize(
    ("labels", "classes", "said_"),
    [
        (["benign"] * 6, ("benign", "malignant"), "No test case is malignant"),
        (["ill", "well"] * 3, ("benign", "malignant"), "No test case is benign or malignant"),
        ([None] * 6, ("benign", "malignant"), "no case is labelled"),
        (["ill", "well"] * 3, (), "The card names no classes"),
        ([None] * 6, (), "No test case is lesion-free or lesion"),
    ],
)
def test_without_two_classes_every_audit_is_inconclusive(labels, classes, said_):
    whole = suite("discriminator")
    cohort = Described(Drawn(labels))
    subject = planted_classifier(Brightness(), classes=classes)
    record = run_audit(subject, cohort, whole, whole.criteria, detector=None, engine=LocalEngine()).record

    assert record.verdict is Verdict.INCONCLUSIVE
    found = {a.code: a.verdict for a in record.audits if a.code not in whole.beside}
    assert found == dict.fromkeys(ALONE, Verdict.INCONCLUSIVE)
    assert all(said_ in a.reason for a in record.audits if a.code.startswith("DIS"))


class Described:
    """A cohort with what a Record asks of it beside the images."""

    def __init__(self, cohort):
        self._cohort = cohort

    def __getattr__(self, name):
        return getattr(self._cohort, name)

    def digest(self):
        return "0" * 64

    def describe(self):
        return {"name": "drawn", "digest": self.digest(), "phantom": False}

    def require_readable(self, partition=None):
        pass


def test_images_of_several_sizes_are_scored_in_batches_of_one_and_keep_their_order():
    classifier = Brightness()
    run = run_of(Drawn(["benign", "malignant"] * 50, sides=[16, 20, 20, 16] * 25), classifier)
    alone = [run.score([item.image], ["x"])[0] for item in run.items[:9]]

    assert classifier.seen[:2] == [(50, 16, 16), (50, 20, 20)]
    assert run.logits[:9] == pytest.approx(alone, rel=1e-6)


def test_every_case_is_scored_once():
    classifier = Brightness()
    run = run_of(Drawn(["benign", "malignant"] * 50), classifier)
    assert discrimination(run).rows == discrimination(run).rows
    assert sum(shape[0] for shape in classifier.seen) == 100


def test_nan_is_no_score():
    with pytest.raises(NotFiniteError, match="NaN or infinity for 4 of 4") as caught:
        _ = run_of(Drawn(["benign", "malignant"] * 2), Constant(float("nan"))).items
    assert "c0" in str(caught.value)


def test_what_a_reader_has_to_know_of_the_scores():
    cohort = Drawn(["benign", "malignant"] * 4)
    run = run_of(cohort, Constant(3.0))
    assert run.deviations() == []
    _ = run.items
    assert run.deviations() == ["The model's score is the same for every image."]
    sure = run_of(cohort, Constant(100.0))
    _ = sure.items
    assert sure.deviations()[1] == "The model's probability is 0 or 1 to the last digit in 8 of 8 cases."


def test_the_threshold_is_declared_and_never_chosen():
    cohort = Drawn(["benign", "malignant"] * 4)
    run = run_of(cohort, threshold=0.7)
    assert run.threshold("DIS-001", 0.0) == (0.7, "the model card")
    assert run.threshold("DIS-001", 0.2) == (0.2, "the criteria file")
    assert run.threshold("DIS-001", 0.5).logit == 0.0
    assert "the criteria file before the run" in said(run.threshold("DIS-001", 0.2))
    assert run_of(cohort, threshold=None).threshold("DIS-001", 0.0) is None
    assert "never chosen on the test cases" in said(None)
    with pytest.raises(ConfigurationError, match="no probability"):
        run.threshold("DIS-001", 1.5)


def test_one_threshold_in_the_criteria_holds_for_every_audit_that_has_one():
    whole = suite("discriminator")
    criteria = replace(whole.criteria, matching={"threshold": 0.35})
    settled = {audit.code: parameters(audit, criteria) for audit in whole.audits}
    assert {code for code, found in settled.items() if found.get("threshold") == 0.35} == {
        "DIS-001",
        "DIS-004",
        "DIS-005",
        "ROB-004",
    }
    assert all("threshold" not in settled[code] for code in ("DIS-002", "DIS-003", "DIS-006"))


def test_a_dry_run_finds_a_model_that_does_not_take_the_images():
    cohort = Drawn(["benign", "malignant"] * 4)
    with pytest.raises(ModelError, match="channels"):
        run_of(cohort, channels=3).dry_run()
    subject = planted_classifier(Brightness(), classes=("benign", "malignant"))
    other = planted_classifier(Brightness(), classes=("malignant", "benign"))
    with pytest.raises(ModelError, match="other classes"):
        ClassificationRun(subject, cohort, None, LocalEngine(), 0, comparator=other).dry_run()


def test_the_comparator_is_the_one_given_else_the_card_s(slices):
    faithful, worse = planted_classifier(Faithful()), planted_classifier(Overconfident())
    with_own = planted_classifier(Faithful(), comparator=worse)
    cohort = slices(20)

    def comparator(subject, given=None):
        return ClassificationRun(subject, cohort, None, LocalEngine(), 0, comparator=given).comparator

    assert comparator(faithful) is None
    assert comparator(with_own) is worse
    assert comparator(with_own, faithful) is faithful
    run = ClassificationRun(faithful, cohort, None, LocalEngine(), 0, comparator=worse)
    assert run.options["comparator"]["name"] == worse.card.name
    assert run.compared == pytest.approx(3 * run.logits, rel=1e-5)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset of labelled images and a tiny network that was written with TorchScript."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("clinic")
    g = np.random.default_rng(0)
    rows = ["case_id,patient_id,partition,image,label,site,attr.sex"]
    for k in range(240):
        ill = k % 2 == 1
        y, x = np.hypot(*(np.indices((32, 32)) - 15.5)), g.integers(8, 20, size=2)
        image = 300 * (y < 13) + 20 * g.standard_normal((32, 32)) + 100
        spot = 160 + 70 * g.standard_normal() if ill else max(0.0, 30 * g.standard_normal())
        image[x[0] : x[0] + 5, x[1] : x[1] + 5] += spot
        np.save(folder / f"{k}.npy", np.clip(image, 0, 1000).astype(np.float32))
        partition = "test" if k < 200 else "train"
        label = "malignant" if ill else "benign"
        rows.append(
            f"c{k},p{k // 2 if k < 200 else k},{partition},{k}.npy,{label},{'NM'[k % 3 == 0]},{'FM'[k // 2 % 2]}"
        )
    (folder / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "clinic.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "clinic"\ncases = "cases.csv"\nvalue_range = [0.0, 1000.0]\n',
        encoding="utf-8",
    )

    class Spot(torch.nn.Module):
        """The largest mean over five by five pixels, as a convolution and a maximum."""

        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Conv2d(1, 1, 5, bias=False)
            self.out = torch.nn.Linear(1, 1)
            torch.nn.init.constant_(self.mean.weight, 1 / 25)
            torch.nn.init.constant_(self.out.weight, 20.0)
            torch.nn.init.constant_(self.out.bias, 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # from [-1, 1]; 0.4 of unit range is the tissue's level
            highest = torch.amax(self.mean(x), dim=(2, 3))
            return self.out(highest)

    torch.set_num_threads(1)
    torch.jit.script(Spot().eval()).save(str(folder / "spot.pt"))
    (folder / "spot.card.toml").write_text(
        'schema = "medgan-qa/card/1"\nname = "spots"\nversion = "2.1"\ntask = "discriminator"\nchannels_in = 1\n'
        'range_in = [-1.0, 1.0]\nclasses = ["benign", "malignant"]\nthreshold = 0.5\nreads = "disease"\n',
        encoding="utf-8",
    )
    return folder / "spot.pt", folder / "clinic.toml"


def test_a_network_from_disk_goes_through_the_whole_suite(on_disk):
    model, data = on_disk
    whole = suite("discriminator")
    cohort, subject = read_dataset(data), load_subject(str(model))
    result = run_audit(subject, cohort, whole, whole.criteria, detector=None, engine=LocalEngine())
    audits = {a.code: a for a in result.record.audits}
    values = {m.id: m for a in result.record.audits for m in a.measurements}

    assert result.exception is None
    assert tuple(code for code in audits if code not in whole.beside) == ALONE
    assert values["DIS-001.auc"].value > 0.9
    assert values["DIS-001.auc"].n == 200
    assert audits["DIS-001"].verdict is Verdict.PASS
    assert values["DIS-005.surviving_calls"].value is None
    assert "no lesion mask" in " ".join(audits["DIS-005"].notes)
    assert values["DIS-005.border_auc"].value == pytest.approx(0.5, abs=0.1)
    assert values["DIS-004.uneven_attributes"].value is not None
    assert {row["audit"] for row in result.rows} == set(ALONE)
    assert len(result.rows) == 200 * len(ALONE)
    assert "the model card" in audits["DIS-001"].notes[0]
    assert result.record.subject["card"]["classes"] == ["benign", "malignant"]
    # images went through the card's range: the same by hand
    first = cohort.load(subset(cohort.cases, "test")[0]).image
    assert subject.score(first[None]).shape == (1,)


def test_a_repeated_run_gives_the_same_numbers(on_disk):
    model, data = on_disk
    whole = suite("discriminator")
    several = replace(whole, audits=tuple(a for a in whole.audits if a.code in ("DIS-002", "ROB-004")))
    criteria = replace(whole.criteria, declared=())
    first, again = (
        run_audit(load_subject(str(model)), read_dataset(data), several, criteria, detector=None, engine=LocalEngine())
        for _ in range(2)
    )
    assert [a.measurements for a in first.record.audits] == [a.measurements for a in again.record.audits]


def test_a_card_of_a_classifier_is_read(on_disk):
    card = parse_card(on_disk[0].with_name("spot.card.toml").read_text(encoding="utf-8"), "card")
    assert (card.classes, card.threshold, card.reads) == (("benign", "malignant"), 0.5, "disease")


def test_a_dataset_without_a_readable_image_is_refused(on_disk, tmp_path):
    _, data = on_disk
    text = data.with_name("cases.csv").read_text(encoding="utf-8").replace("0.npy", "missing.npy", 1)
    (tmp_path / "cases.csv").write_text(text, encoding="utf-8")
    (tmp_path / "clinic.toml").write_text(data.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(DatasetError, match="missing"):
        read_dataset(tmp_path / "clinic.toml")
