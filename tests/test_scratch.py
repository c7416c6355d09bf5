"""The scratch file of a run: what comes back, what stays in memory, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medgan_qa.engines import scratch
from medgan_qa.engines.scratch import Shelf, memory_budget, physical_memory
from medgan_qa.errors import ConfigurationError, OutputError

arrays = hnp.arrays(
    st.sampled_from([np.dtype("float32"), np.dtype("bool"), np.dtype("uint8")]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
)


class TestShelf:
    @given(st.lists(arrays, min_size=1, max_size=8))
    @settings(deadline=None, max_examples=50)
    def test_prop_everything_comes_back_as_it_was(self, given_arrays):
        shelf = Shelf(0)
        kept = [shelf.keep(array) for array in given_arrays]
        for before, after in zip(given_arrays, kept, strict=True):
            assert after.dtype == before.dtype
            assert after.shape == before.shape
            assert after.tobytes() == before.tobytes()
        assert shelf.on_disk == sum(a.nbytes for a in given_arrays)

    def test_below_the_budget_an_array_is_the_same_object(self):
        shelf, array = Shelf(8000), np.zeros(1000)
        assert shelf.keep(array) is array
        assert (shelf.in_memory, shelf.on_disk) == (8000, 0)

    def test_from_the_budget_on_arrays_go_to_disk(self):
        shelf = Shelf(8000)
        kept = [shelf.keep(np.full(1000, k, np.float32)) for k in range(5)]
        assert (shelf.in_memory, shelf.on_disk) == (8000, 12000)
        assert [array[0] for array in kept] == [0, 1, 2, 3, 4]

    def test_arrays_of_the_file_cannot_be_written_to(self):
        array = Shelf(0).keep(np.zeros(4))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0

    def test_arrays_outlive_the_shelf(self):
        kept = [Shelf(0).keep(np.arange(5.0)) for _ in range(3)]
        assert all((array == np.arange(5.0)).all() for array in kept)

    def test_more_than_one_block(self, monkeypatch):
        monkeypatch.setattr(scratch, "BLOCK_BYTES", 8192)
        shelf, g = Shelf(0), np.random.default_rng(0)
        given_arrays = [g.random(n) for n in (700, 700, 5000, 3, 900)]
        kept = [shelf.keep(array) for array in given_arrays]
        assert all(np.array_equal(a, b) for a, b in zip(given_arrays, kept, strict=True))

    def test_a_view_that_is_not_contiguous_comes_back_too(self):
        whole = np.arange(60.0).reshape(3, 4, 5)
        assert np.array_equal(Shelf(0).keep(whole[:, ::2].transpose(2, 0, 1)), whole[:, ::2].transpose(2, 0, 1))


class TestSeries:
    @pytest.mark.parametrize("budget", [0, 10**9])
    def test_equals_a_stack(self, budget):
        images = np.random.default_rng(1).random((7, 1, 8, 9), dtype=np.float32)
        shelf = Shelf(budget)
        made = shelf.series(7).extended(images)
        assert np.array_equal(made, images)
        assert bool(shelf.on_disk) is (budget == 0)
        assert np.array_equal(shelf.picked(made, [6, 0, 3, 3]), images[[6, 0, 3, 3]])

    @pytest.mark.parametrize("budget", [0, 10**9])
    def test_refuses_another_shape_and_another_number(self, budget):
        series = Shelf(budget).series(2)
        series.append(np.zeros((4, 4)))
        with pytest.raises(ValueError, match="1 came"):
            _ = series.array
        with pytest.raises(ValueError, match="shape"):
            series.append(np.zeros((4, 5)))
        series.append(np.zeros((4, 4)))
        with pytest.raises(ValueError, match="one more"):
            series.append(np.zeros((4, 4)))


class TestBudget:
    def test_is_a_quarter_of_the_memory_by_default(self, monkeypatch):
        monkeypatch.delenv("MEDGAN_QA_MEMORY_MB", raising=False)
        assert memory_budget() == int(0.25 * physical_memory())

    def test_is_what_the_variable_says(self, monkeypatch):
        monkeypatch.setenv("MEDGAN_QA_MEMORY_MB", "1.5")
        assert memory_budget() == Shelf().budget == 1_500_000

    @pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf"])
    def test_refuses_what_is_no_size(self, monkeypatch, text):
        monkeypatch.setenv("MEDGAN_QA_MEMORY_MB", text)
        with pytest.raises(ConfigurationError, match="no size") as caught:
            memory_budget()
        assert caught.value.found == text

    def test_a_container_with_less_memory_counts(self, monkeypatch, tmp_path):
        limit, unlimited = tmp_path / "limit", tmp_path / "max"
        limit.write_text("1000000\n")
        unlimited.write_text("max\n")
        monkeypatch.setattr(scratch, "CGROUP_LIMITS", (unlimited, tmp_path / "absent", limit))
        assert physical_memory() == 1_000_000


def in_child(code: str, folder, **more) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.mark.skipif(sys.platform == "win32", reason="a killed process of Windows has no such signal")
def test_a_killed_run_leaves_nothing_behind(tmp_path):
    done = in_child(
        """
        import os, signal
        import numpy as np
        from medgan_qa.engines.scratch import Shelf

        shelf = Shelf(0)
        kept = shelf.keep(np.ones(1 << 20))
        assert kept.sum() == 1 << 20 and shelf.on_disk == 8 << 20
        print(os.listdir(os.environ["TMPDIR"]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.strip() == "[]"  # not even while it runs
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_disk_without_room_is_an_error_that_says_where(tmp_path):
    done = in_child(
        """
        import resource
        import numpy as np
        from medgan_qa.engines.scratch import Shelf
        from medgan_qa.errors import OutputError

        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            Shelf(0).keep(np.ones(1 << 20))
        except OutputError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "scratch file beside it cannot be written" in done.stdout, done.stderr
    assert str(tmp_path) in done.stdout
    assert "MEDGAN_QA_MEMORY_MB" in done.stdout


def test_a_folder_that_cannot_be_written_is_an_error_too(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match="do not fit into memory"):
        Shelf(0).keep(np.zeros(3))
