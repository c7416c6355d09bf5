"""The feature store: found by content, shared, bounded, never a wrong number and never a crash."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features import _database, store
from medgan_qa.features.store import DEFAULT_BYTES, FeatureStore, default_folder, default_limit, image_key

ROOT = Path(__file__).resolve().parents[2]


class Counting:
    """Features that differ in every digit, and a record of which images were asked for."""

    def __init__(self, name="counting", version="1", digest="0" * 64, width=7, **further):
        self.name, self.version, self.digest, self.width = name, version, digest, width
        self.seen = []
        self.__dict__ |= further

    def features(self, images):
        self.seen += [float(image.mean()) for image in images]
        flat = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)
        return np.sin(flat[:, None] * np.arange(1, self.width + 1) * 100).astype(np.float32)


def images(n, seed=0, size=8):
    return np.random.default_rng(seed).random((n, 1, size, size), dtype=np.float32)


def right(given_):
    return Counting().features(given_)


def test_what_was_computed_once_is_found_bit_for_bit(tmp_path):
    given_, source = images(150), Counting()
    first, again = FeatureStore(tmp_path), FeatureStore(tmp_path)
    computed = first.compute(source, given_)
    assert (first.hits, first.computed, len(source.seen)) == (0, 150, 150)
    assert computed.dtype == np.float32
    np.testing.assert_array_equal(computed, right(given_))

    found = again.compute(source, given_[::-1])
    assert (again.hits, again.computed, len(source.seen)) == (150, 0, 150)
    assert found.tobytes() == computed[::-1].tobytes()
    assert again.warnings == []


def test_only_what_is_missing_is_computed_and_equal_images_once(tmp_path):
    given_, source = images(6), Counting()
    FeatureStore(tmp_path).compute(source, given_[:3])
    source.seen.clear()
    kept = FeatureStore(tmp_path)
    order = [4, 0, 4, 5, 2, 4]
    found = kept.compute(source, given_[order])
    assert source.seen == [pytest.approx(given_[k].mean()) for k in (4, 5)]
    assert (kept.hits, kept.computed) == (2, 2)
    np.testing.assert_array_equal(found, right(given_[order]))


@pytest.mark.parametrize(
    "change",
    [{"name": "x"}, {"version": "2"}, {"digest": "1" * 64}, {"preprocessing": {"size": 4}}],
    ids=lambda change: next(iter(change)),
)
def test_another_extractor_is_not_taken_for_this_one(tmp_path, change):
    FeatureStore(tmp_path).compute(Counting(), images(2))
    kept = FeatureStore(tmp_path)
    kept.compute(Counting(**change), images(2))
    assert kept.computed == 2


def test_the_key_is_the_content():
    image = images(1)[0]
    same = image.copy(order="F")
    assert image_key(image) == image_key(same)
    changed = image.copy()
    changed[0, 3, 3] = np.nextafter(changed[0, 3, 3], np.float32(2))
    others = [changed, image.reshape(1, 4, 16), image.reshape(4, 4, 4), image[:, :4]]
    assert len({image_key(other) for other in [image, *others]}) == 5


@settings(max_examples=25)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sets(st.integers(0, 5)), st.integers(1, 5))
def test_any_order_repeats_and_batches(tmp_path_factory, order, known, batch):
    folder, given_ = tmp_path_factory.mktemp("store"), images(6)
    if known:
        FeatureStore(folder).compute(Counting(), given_[sorted(known)])
    kept = FeatureStore(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BATCH", batch)
        found = kept.compute(Counting(), given_[order])
    np.testing.assert_array_equal(found, right(given_[order]))
    assert kept.computed == len(set(order) - known)
    assert kept.hits == sum(k in known for k in order)


def test_progress_is_told_by_batch(tmp_path):
    told = []
    engine = LocalEngine(lambda *what: told.append(what))
    FeatureStore(tmp_path).compute(Counting(), images(store.BATCH + 1), engine, label="Features: x")
    assert told == [("Features: x", 1, 2), ("Features: x", 2, 2)]


def test_without_a_folder_nothing_is_kept():
    kept, source = FeatureStore(None), Counting()
    for _ in range(2):
        np.testing.assert_array_equal(kept.compute(source, images(3)), right(images(3)))
    assert (kept.computed, kept.hits, kept.path, kept.clear()) == (6, 0, None, 0)
    assert kept.contents() == (None, 0, kept.max_bytes, [])
    assert kept.warnings == []


def test_what_cannot_be_computed_is_refused_and_not_kept(tmp_path):
    kept, broken = FeatureStore(tmp_path), images(3)
    broken[1, 0, 0, 0] = np.nan
    with pytest.raises(ModelError) as caught:
        kept.compute(Counting(), broken)
    assert "1 of 3 images, the first at position 1" in caught.value.found
    for bad in [images(3)[:, 0], images(3).astype(np.float64), images(0)]:
        with pytest.raises(ValueError, match="N >= 1"):
            kept.compute(Counting(), bad)

    class Broken(Counting):
        def features(self, images):
            return super().features(images) * np.float32(np.nan)

    with pytest.raises(ModelError):
        kept.compute(Broken(), images(3))
    assert kept.contents().entries == []


def test_batches_before_a_failure_are_kept(tmp_path):
    class Failing(Counting):
        def features(self, images):
            if len(self.seen) >= store.BATCH:
                raise RuntimeError("out of memory")
            return super().features(images)

    given_ = images(store.BATCH + 5)
    with pytest.raises(RuntimeError):
        FeatureStore(tmp_path).compute(Failing(), given_)
    kept = FeatureStore(tmp_path)
    kept.compute(Counting(), given_)
    assert kept.hits == store.BATCH


def test_an_extractor_that_changed_without_a_new_version_is_found_out(tmp_path):
    FeatureStore(tmp_path).compute(Counting(), images(2))
    with pytest.raises(ModelError, match="different numbers of features"):
        FeatureStore(tmp_path).compute(Counting(width=9), images(3))


def test_contents_and_clearing(tmp_path):
    kept = FeatureStore(tmp_path)
    assert kept.contents().entries == []
    assert list(tmp_path.iterdir()) == []
    kept.compute(Counting("a"), images(3))
    kept.compute(Counting("a", version="2"), images(2))
    kept.compute(Counting("b"), images(4))
    found = kept.contents()
    assert [(e.name, e.version, e.images) for e in found.entries] == [("a", "1", 3), ("a", "2", 2), ("b", "1", 4)]
    assert found.bytes == kept.path.stat().st_size
    assert kept.clear("a") == 5
    assert [e.name for e in kept.contents().entries] == ["b"]
    assert kept.clear("nothing") == 0
    assert kept.clear() == 4
    assert kept.contents().entries == []


def test_the_bound_holds_and_the_least_recently_used_goes_first(tmp_path):
    bound, given_ = 150_000, images(400)
    wide = Counting(width=100)
    small = [FeatureStore(tmp_path, bound) for _ in range(4)]
    small[0].compute(wide, given_[:60])
    small[1].compute(wide, given_[60:120])
    small[2].compute(wide, given_[:60])  # used again, so the second sixty are the oldest
    assert small[2].hits == 60
    for k in range(120, 400, 40):
        kept = FeatureStore(tmp_path, bound)
        kept.compute(wide, given_[:60])
        assert kept.hits == 60
        np.testing.assert_array_equal(kept.compute(wide, given_[k : k + 40]), wide.features(given_[k : k + 40]))
        assert kept.contents().bytes <= bound
    kept = FeatureStore(tmp_path, bound)
    kept.compute(wide, given_[60:120])
    assert kept.hits == 0


def test_a_bound_that_holds_nothing_still_computes(tmp_path):
    kept = FeatureStore(tmp_path, 1)
    for _ in range(2):
        np.testing.assert_array_equal(kept.compute(Counting(), images(3)), right(images(3)))
    assert (kept.hits, kept.computed, kept.warnings) == (0, 6, [])


def garbage(path):
    path.write_bytes(b"no database at all" * 1000)


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:6000])


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE x (y)")
    db.close()


def without_table(path):
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE features")
    db.close()


def changed_value(path):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE features SET row = zeroblob(length(row)) WHERE rowid = 2")
    db.close()


def swapped_rows(path):
    with sqlite3.connect(path) as db:
        one, two = (r for (r,) in db.execute("SELECT image FROM features WHERE rowid IN (1, 2) ORDER BY rowid"))
        db.execute("UPDATE features SET image = ? WHERE rowid = 1", (b"spare",))
        db.execute("UPDATE features SET image = ? WHERE rowid = 2", (one,))
        db.execute("UPDATE features SET image = ? WHERE rowid = 1", (two,))
    db.close()


@pytest.mark.parametrize("damage", [garbage, emptied, cut, foreign, without_table, changed_value, swapped_rows])
def test_a_damaged_store_is_set_aside_and_built_anew(tmp_path, damage):
    given_ = images(40)
    FeatureStore(tmp_path).compute(Counting(), given_)
    damage(FeatureStore(tmp_path).path)

    kept = FeatureStore(tmp_path)
    np.testing.assert_array_equal(kept.compute(Counting(), given_), right(given_))
    assert kept.computed == 40
    [warning] = kept.warnings
    assert "is damaged" in warning
    assert "set aside as features-1.damaged.sqlite3" in warning
    assert (tmp_path / "features-1.damaged.sqlite3").exists()

    healthy = FeatureStore(tmp_path)
    healthy.compute(Counting(), given_)
    assert (healthy.hits, healthy.warnings) == (40, [])
    healthy.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["features-1.sqlite3"]


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 400))
def test_no_flipped_byte_gives_a_wrong_feature(tmp_path_factory, seed, flips):
    folder, given_ = tmp_path_factory.mktemp("flipped"), images(30)
    FeatureStore(folder).compute(Counting(), given_)
    path, g = FeatureStore(folder).path, np.random.default_rng(seed)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[g.integers(0, content.size, flips)] ^= g.integers(1, 256, flips).astype(np.uint8)
    path.write_bytes(content.tobytes())
    for _ in range(2):
        np.testing.assert_array_equal(FeatureStore(folder).compute(Counting(), given_), right(given_))


def test_damage_that_another_run_has_mended_is_left_alone(tmp_path):
    FeatureStore(tmp_path).compute(Counting(), images(3))
    path = FeatureStore(tmp_path).path
    _database.set_aside(path, path.stat().st_ino + 1)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("in the way")
    kept = FeatureStore(tmp_path / "file" / "folder")
    for _ in range(2):
        np.testing.assert_array_equal(kept.compute(Counting(), images(3)), right(images(3)))
    assert not kept.usable
    [warning] = kept.warnings
    assert "features are computed and not kept" in warning
    assert store.FOLDER_VARIABLE in warning
    assert FeatureStore(tmp_path / "file" / "folder").contents().entries == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_folder_without_permission_costs_a_warning(tmp_path):
    tmp_path.chmod(0o500)
    try:
        kept = FeatureStore(tmp_path)
        np.testing.assert_array_equal(kept.compute(Counting(), images(3)), right(images(3)))
    finally:
        tmp_path.chmod(0o700)
    assert len(kept.warnings) == 1


def test_a_store_that_another_process_holds_costs_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(_database, "BUSY_SECONDS", 0.05)
    FeatureStore(tmp_path).compute(Counting(), images(3))
    kept, given_ = FeatureStore(tmp_path), images(5)
    holder = sqlite3.connect(kept.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    np.testing.assert_array_equal(kept.compute(Counting(), given_), right(given_))
    holder.execute("ROLLBACK")
    holder.close()
    assert kept.hits == 3
    assert ["locked" in warning for warning in kept.warnings] == [True]
    assert FeatureStore(tmp_path).contents().entries[0].images == 3


WORKER = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, str(Path({tests!r})))
from test_store import Counting, images
from medgan_qa.features import store
store.BATCH = 8
folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for k in range(rounds):
    kept = store.FeatureStore(folder)
    kept.compute(Counting(width=300), images(40, seed + k))
    assert not kept.warnings, kept.warnings
"""


def worker(folder, seed, rounds):
    code = WORKER.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(folder), str(seed), str(rounds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def test_two_processes_write_at_once(tmp_path):
    # overlapping seeds, so that both write some of the same rows, into a file that neither has made yet
    processes = [worker(tmp_path, seed, 12) for seed in (0, 6)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    wide = Counting(width=300)
    kept = FeatureStore(tmp_path)
    for seed in range(18):
        np.testing.assert_array_equal(
            kept.compute(wide, images(40, seed)), Counting(width=300).features(images(40, seed))
        )
    assert (kept.hits, kept.computed, kept.warnings) == (720, 0, [])


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.25])
def test_a_process_that_is_killed_leaves_whole_rows(tmp_path, delay):
    process = worker(tmp_path, 0, 10_000)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    kept = FeatureStore(tmp_path)
    for seed in range(3):
        found = kept.compute(Counting(width=300), images(40, seed))
        np.testing.assert_array_equal(found, Counting(width=300).features(images(40, seed)))
    assert kept.warnings == []
    # a transaction is a batch of eight, whole or not at all
    assert kept.hits % 8 == 0
    with sqlite3.connect(kept.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_full_disk_costs_a_warning(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_store import Counting, images\n"
        "from medgan_qa.features.store import FeatureStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))\n"
        "kept = FeatureStore(Path(sys.argv[1]))\n"
        "found = kept.compute(Counting(width=500), images(200))\n"
        "assert np.array_equal(found, Counting(width=500).features(images(200)))\n"
        "print(kept.usable, kept.warnings)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("False ['The feature store")
    later = FeatureStore(tmp_path)
    np.testing.assert_array_equal(
        later.compute(Counting(width=500), images(200)), Counting(width=500).features(images(200))
    )
    assert later.warnings == []


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    assert default_folder() == tmp_path / ".cache" / "medgan-qa"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == tmp_path / ".cache" / "medgan-qa"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_folder() == Path("/xdg/medgan-qa")
    monkeypatch.setenv(store.FOLDER_VARIABLE, "/mine")
    assert default_folder() == Path("/mine")
    assert FeatureStore().folder == Path("/mine")


def test_no_home_costs_a_warning(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(store, "default_folder", homeless)
    kept = FeatureStore()
    np.testing.assert_array_equal(kept.compute(Counting(), images(3)), right(images(3)))
    assert "no home folder" in kept.warnings[0]


@pytest.mark.parametrize(
    ("text", "size"), [("", DEFAULT_BYTES), ("4096", 4096), ("500MB", 5 * 10**8), ("1.5 gb", 15 * 10**8), ("2k", 2000)]
)
def test_the_bound_follows_the_environment(text, size, monkeypatch):
    monkeypatch.setenv(store.LIMIT_VARIABLE, text)
    assert default_limit() == size == FeatureStore(None).max_bytes


@pytest.mark.parametrize("text", ["much", "-1", "1.5.2GB", "5 PB", "nan"])
def test_a_bound_that_is_no_size_is_refused(text, monkeypatch):
    monkeypatch.setenv(store.LIMIT_VARIABLE, text)
    with pytest.raises(ConfigurationError) as caught:
        FeatureStore(None)
    assert caught.value.found == text
