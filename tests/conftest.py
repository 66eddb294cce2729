"""Settings of all tests. They do not depend on the machine: not on a GPU, its home folder or the order of the tests.

While working on the package, leave out what takes long: ``pytest -m "not slow and not browser and not notebook"``.
"""

import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from simclr_lib.files import lock_file
from simclr_lib.training import read_metrics

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("repeatable")

CORES = os.cpu_count() or 1
WORKERS = min(4, CORES)  # of `pytest -n auto`; each process holds PyTorch and, in turn, the kernel of a notebook
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(min(2, torch.get_num_threads(), max(1, CORES // workers)))  # more would only wait for each other
# The processes that tests start, the workers among them, take these when they import PyTorch: threads that wait for
# each other sleep, since spinning would slow down the processes beside them ten times.
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # as many as here, so that they compute the same bits
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # no test takes the GPU
os.environ["MPLBACKEND"] = "agg"
# Decoded images and runs go to a temporary folder, those of the notebooks' kernels too, which no fixture reaches.
scratch = tempfile.TemporaryDirectory(prefix="simclr-tests-", ignore_cleanup_errors=True)
os.environ |= {"SIMCLR_CACHE": f"{scratch.name}/cache", "SIMCLR_RUNS": f"{scratch.name}/runs"}


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes that `pytest -n auto` starts."""
    return WORKERS


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark the cells of notebooks, and keep them in their order, before the tests, however those are shuffled.

    They come first because they take longest, and then the files with the most slow tests: several processes then end
    at about the same time.
    """
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("notebook")
    yield
    cells = [item for item in items if item.path.suffix == ".ipynb"]
    tests = [item for item in items if item.path.suffix != ".ipynb"]
    slow = Counter(test.path for test in tests if test.get_closest_marker("slow"))
    in_order = sorted(cells, key=lambda cell: (cell.path, cell.cell_num))
    items[:] = in_order + sorted(tests, key=lambda test: -slow[test.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Let the kernels of notebooks start one after the other: two that start at once may choose the same ports."""
    if item.path.suffix != ".ipynb":
        return (yield)
    with open(Path(tempfile.gettempdir()) / "simclr-tests-kernel.lock", "a") as lock:
        while True:
            try:
                lock_file(lock.fileno())
                break
            except (BlockingIOError, PermissionError):
                time.sleep(0.1)
        return (yield)


@pytest.fixture(scope="module")
def one_penalty() -> Iterator[None]:
    """One strong penalty makes linear probes fast, for tests that are not about probes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simclr_lib.evaluation.logistic.L2_GRID", (1.0,))
        yield


@pytest.fixture
def wait_for_steps() -> Callable[[Path, subprocess.Popen, int], None]:
    """A function that waits until a run, in another process, has logged so many steps."""

    def wait(folder: Path, process: subprocess.Popen, steps: int) -> None:
        while len(read_metrics(folder)) < steps:
            assert process.poll() is None, f"the run ended before it could be stopped: {process.communicate()}"
            time.sleep(0.05)

    return wait
