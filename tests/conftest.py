"""Settings of all tests: repeatable hypothesis examples, two threads. And a run that is caught in the middle."""

import subprocess
import time
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from simclr_lib.training import read_metrics

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("repeatable")
torch.set_num_threads(2)


@pytest.fixture
def wait_for_steps():
    """A function that waits until a run, in another process, has logged so many steps."""

    def wait(folder: Path, process: subprocess.Popen, steps: int) -> None:
        for _ in range(1200):
            if len(read_metrics(folder)) >= steps:
                return
            assert process.poll() is None, f"the run ended before it could be stopped: {process.communicate()}"
            time.sleep(0.05)
        raise AssertionError("the run did not start")

    return wait
