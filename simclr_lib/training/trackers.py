"""Programs that draw the curves of a run while it trains: TensorBoard, Trackio and Weights & Biases.

Each is an optional package. What they are sent stands in the run's ``metrics.jsonl`` as well.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any, Protocol

from simclr_lib.choices import LogName
from simclr_lib.errors import SimCLRError

PROJECT = "simclr"
MODULES = {"tensorboard": "torch.utils.tensorboard", "trackio": "trackio", "wandb": "wandb"}


class Tracker(Protocol):
    """A receiver of the metrics of a run. The runs of Trackio and Weights & Biases have this form themselves."""

    def log(self, metrics: dict[str, Any], step: int) -> object:
        """Add the metrics of a step."""

    def finish(self) -> object:
        """Send or write what is left."""


def tracker_module(name: LogName) -> Any:
    """Import the package of a tracker.

    Raises:
        SimCLRError: it is missing.
    """
    try:
        return importlib.import_module(MODULES[name])
    except ImportError:
        raise SimCLRError(f'log="{name}" needs a package that is not here: pip install {name}.') from None


def open_tracker(name: LogName, run_dir: Path, step: int, settings: dict[str, object]) -> Tracker:
    """Begin to send a run's metrics to a tracker, or go on with a run that was resumed.

    TensorBoard's files and those of Weights & Biases lie in the run's folder, and Trackio has a folder of its own
    (``$TRACKIO_DIR``).

    Args:
        name: the tracker.
        run_dir: the run's folder, whose name the run has in the tracker.
        step: the first step that will be sent.
        settings: the settings of the run, which the tracker shows beside its curves.

    Raises:
        SimCLRError: the package is missing, or does not start; the message says why.
    """
    module = tracker_module(name)
    if name == "tensorboard":
        return _TensorBoard(module.SummaryWriter(str(run_dir), purge_step=step))
    about: dict[str, Any] = {"project": PROJECT, "name": run_dir.resolve().name, "config": settings}
    if name == "trackio":
        about |= {"resume": "allow" if step else "never"}  # it knows runs by their names, which two may share
    else:
        place = str(run_dir.resolve()).encode()
        about |= {"resume": "allow", "id": hashlib.blake2b(place, digest_size=8).hexdigest(), "dir": str(run_dir)}
    try:
        tracker: Tracker = module.init(**about)
    except Exception as error:  # no account, no network, no room: each package has errors of its own
        remedy = "run `wandb login` or set WANDB_MODE=offline" if name == "wandb" else "mend that, or leave `log` out"
        raise SimCLRError(f"{name} does not start ({error}): {remedy}; then continue with resume=True.") from error
    return tracker


class _TensorBoard:
    """TensorBoard's writer in the form of a tracker."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, metrics: dict[str, Any], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()
