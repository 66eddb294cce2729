"""A training run in a folder: it logs, measures, films and saves, and can continue an earlier run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from simclr_lib.config import ONLY_WITHOUT_LABELS, RECIPE, TrainConfig
from simclr_lib.data import ImageDataset, Reading
from simclr_lib.device import check_compiler, check_precision, environment, pick_device
from simclr_lib.distributed import agree, from_leader, wait_for_all, world
from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically
from simclr_lib.loop import DivergedError
from simclr_lib.training.interrupt import Interrupt, Interrupted
from simclr_lib.training.metrics import MetricsLog, read_metrics
from simclr_lib.training.run_folder import RunFolder, claimed
from simclr_lib.training.trackers import tracker_module

_READING = ("fit", "bands", "levels", "store_size")  # settings that say how the images were read


class Opened(NamedTuple):
    """The beginning of a run: its resolved settings, its device, and its folder if it has one."""

    config: TrainConfig
    device: torch.device
    folder: RunFolder | None


@contextmanager
def opened(
    task: str, dataset: ImageDataset, config: TrainConfig, run_dir: Path | None, encoder: nn.Module | None = None
) -> Iterator[Opened]:
    """Check and resolve the settings of a run, and claim its folder while it lasts.

    Args:
        task: "pretrain" or "supervised"; this decides about ``contrastive``, whatever the settings say.
        dataset: the training images. They decide how their files were read.
        config: settings; what they leave open is filled in, from the run that is resumed where there is one.
        run_dir: the run's folder; None takes ``config.run_dir``, and if that is None, too, the run has none.
        encoder: the module that is to be trained instead of the network that the settings name.

    Raises:
        SimCLRError: a setting makes no sense or does not fit the images, timm lacks the encoder, a compiler is
            missing, or the run that is resumed is another one.
    """
    config = _fitting(config.with_own_encoder(encoder), task, dataset)
    config.check()
    config.check_network()
    run_dir = Path(run_dir).expanduser() if run_dir else config.run_dir
    if config.resume and run_dir is None:
        raise SimCLRError("resume=True needs run_dir: name the folder of the run to continue.")
    if config.limit is not None and len(dataset) > config.limit:
        raise SimCLRError(f"limit is {config.limit}, but there are {len(dataset)} images: load {config.limit} of them.")
    if config.image_size not in (None, dataset.image_size):
        raise SimCLRError(
            f"image_size is {config.image_size}, but the images have {dataset.image_size} pixels: "
            "load them at that size, or leave it out."
        )
    if config.log and run_dir is None:
        raise SimCLRError("log needs run_dir: the metrics of a run are those in its folder.")
    if config.log:
        tracker_module(config.log)  # fail before the folder is made if the package is missing
    device = pick_device(config.device)
    check_precision(device, config.precision)
    if config.compile:
        check_compiler(device)
    with claimed(run_dir, config.resume) if run_dir else nullcontext() as folder:
        if folder is None or folder.state is None:
            settings = config.resolved(dataset.image_size, device, reading=dataset.reading)
        else:
            settings = _resolved_as_before(folder, task, dataset, config, device)
        yield Opened(from_leader(settings), device, folder)


def _fitting(config: TrainConfig, task: str, dataset: ImageDataset) -> TrainConfig:
    """Return the settings with what the task and the images decide.

    Raises:
        SimCLRError: a setting asks for another way of reading than the one in which the images were read.
    """
    used = Reading() if dataset.reading is None else dataset.reading
    decided = {name: getattr(used, name) for name in _READING}
    for name, value in decided.items():
        given = getattr(config, name)
        if given not in (getattr(Reading, name), value):
            raise SimCLRError(
                f"{name} is {given!r}, but these images were read with {value!r}: give it to load_dataset, which reads "
                "the files, or leave it out."
            )
    return replace(config, contrastive=task == "pretrain", **decided)


def _resolved_as_before(
    folder: RunFolder, task: str, dataset: ImageDataset, config: TrainConfig, device: torch.device
) -> TrainConfig:
    """Resolve the settings by those of the run that is resumed; an error if the two runs are not the same."""
    # Older versions stored None where a setting was left open, and lack newer settings, which take their defaults.
    state, identity = folder.state or {}, dataset_identity(task, dataset)
    earlier = folder.settings().resolved(dataset.image_size, device, reading=dataset.reading)
    # They also stored settings that the task, or the images, whose fingerprint is compared, had decided otherwise.
    read = {name: getattr(config, name) for name in _READING}
    earlier = replace(earlier, contrastive=state["facts"].get("task") != "supervised", **read)
    config = config.resolved(dataset.image_size, device, earlier, dataset.reading)
    names = [name for name in RECIPE if config.contrastive or name not in ONLY_WITHOUT_LABELS]
    stored = {**{name: getattr(earlier, name) for name in names}, **state["facts"]}
    given = {**{name: getattr(config, name) for name in names}, **identity}
    changed = [
        f"{name} was {stored.get(name)!r:.60}, is {given.get(name)!r:.60}"
        for name in sorted(stored.keys() | given.keys())
        if stored.get(name) != given.get(name)
    ]
    processes_before, processes = state.get("processes", 1), world().size
    depends = config.contrastive and (config.micro_batch or not config.global_negatives)
    if processes_before != processes and depends:
        changed.append(
            f"processes were {processes_before}, are {processes}: local negatives and micro-batches depend on them"
        )
    if changed:
        again = [f"{name}={stored[name]!r}" for name in names if stored[name] != given[name]]
        the_same = f"give {' and '.join(again)}" if again else "use the same settings"
        raise SimCLRError(
            f"{folder.checkpoint} is from another configuration ({'; '.join(changed)}): "
            f'{the_same}, or use another folder; init="{folder.path}" starts a new run from these weights.'
        )
    return config


def dataset_identity(task: str, dataset: ImageDataset) -> dict[str, object]:
    """Return what must be the same on resuming, besides the recipe: "pretrain" or "supervised", and the images."""
    return {
        "task": task,
        "num_images": len(dataset),
        "images": dataset.fingerprint(),
        "image_size": dataset.image_size,
        "classes": dataset.classes,
    }


class _Training(NamedTuple):
    """The objects that the loop trains, the steps of an epoch, and what scales the gradients."""

    model: nn.Module
    optimizer: Optimizer
    steps_per_epoch: int
    scaler: GradScaler


class Run:
    """The observer of a training loop that keeps a run in a folder.

    Every random choice is a function of seed and step (`simclr_lib.loop`), so model, optimiser, step and, in float16,
    the scale of the gradients are all that it takes to continue a run: on a CPU bit for bit, on a GPU up to the kernels
    that cuDNN chooses.

    Use it as a context manager around training: within it, Ctrl-C (or the SIGTERM of a job scheduler) finishes the
    step, saves and raises `Interrupted`; a second Ctrl-C stops at once. With several processes all call it, and the
    leading one writes. ``torchrun`` gives them 30 seconds to do so before it kills them.

    Args:
        folder: the folder that was claimed for this run, see `opened`.
        config: the run's resolved settings.
        identity: what must be the same on resuming besides the recipe, see `dataset_identity`.
        monitor: measures the model so far: name → value.
        watch: called after every measurement with the run's metrics so far.
        film: returns the features of some images, to be kept at every measurement, and which images they are.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        identity: dict[str, object],
        monitor: Callable[[], dict[str, float]] | None = None,
        watch: Callable[[list[dict[str, float]]], None] | None = None,
        film: Callable[[], dict[str, object]] | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.identity = identity
        self.monitor = monitor
        self.watch = watch
        self.film = film
        self.metrics = MetricsLog(folder.path, config.log, config.to_dict())
        self.interrupt = Interrupt(announce=world().leads)
        self._training: _Training | None = None
        self._last_log = self._last_save = time.monotonic()

    def __enter__(self) -> Run:
        self.interrupt.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt.__exit__(kind, error, trace)
        self.metrics.close()
        if isinstance(error, DivergedError):
            has_checkpoint = self.folder.checkpoint.exists()
            kept = f"The last good checkpoint is {self.folder.checkpoint}." if has_checkpoint else ""
            raise DivergedError(f"{error} {kept}".rstrip()) from error

    # The loop calls these; see `simclr_lib.loop.Observer`.

    def start(self, model: nn.Module, optimizer: Optimizer, steps_per_epoch: int, scaler: GradScaler) -> int:
        self._training = _Training(model, optimizer, steps_per_epoch, scaler)
        state = from_leader(self.folder.state)
        step = 0
        if state:
            try:
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
                if scaler.is_enabled():
                    scaler.load_state_dict(state["scaler"])
            except (RuntimeError, ValueError, LookupError) as error:
                raise SimCLRError(
                    f"the weights in {self.folder.checkpoint} do not fit its settings: it is damaged. Use another copy."
                ) from error
            step = int(state["step"])
        if world().leads:
            if not state:
                self._keep_frame(0)
                self.save(0)  # from now on there is something to resume
            self._write_about(next(model.parameters()).device)
            self.metrics.start(step)
            self.folder.drop_frames_after(step)
        self._last_log = self._last_save = time.monotonic()
        return step

    def log(self, first_step: int, losses: list[float], lrs: list[float]) -> None:
        if not world().leads:
            return
        seconds = time.monotonic() - self._last_log
        self._last_log += seconds
        speed = round(len(losses) * self.config.batch_size / max(seconds, 1e-9), 1)
        steps_per_epoch = self._started().steps_per_epoch
        self.metrics.write(
            {"step": step, "epoch": step / steps_per_epoch, "loss": loss, "lr": lr, "images_per_second": speed}
            for step, (loss, lr) in enumerate(zip(losses, lrs, strict=True), first_step)
        )

    def after_step(self, step: int, flush: Callable[[], None]) -> None:
        steps_per_epoch = self._started().steps_per_epoch
        total_steps = steps_per_epoch * self.config.epochs
        is_last = step + 1 == total_steps
        looks = self.monitor is not None or self.film is not None
        steps_between_looks = (self.config.monitor_every or 1) * steps_per_epoch
        is_overdue = time.monotonic() - self._last_save >= self.config.checkpoint_seconds
        looking, saving, stopping = agree(
            looks and (is_last or (step + 1) % steps_between_looks == 0),
            world().leads and (is_last or is_overdue),
            self.interrupt.asked,
        )
        if not (looking or saving or stopping):
            return
        flush()
        if looking and world().leads:
            self._look(step)
        (stopping,) = agree(stopping or self.interrupt.asked)  # the wish to stop may have come while measuring
        if (saving or stopping) and world().leads:
            self.save(step + 1)
        if stopping:
            wait_for_all()  # no process leaves before everything is saved
            raise Interrupted(
                f"stopped after step {step + 1} of {total_steps}; everything is saved.",
                f"Continue with the same command and --resume --run-dir {self.folder.path}",
            )
        self._last_log = time.monotonic()  # measuring and saving are not training time

    # What the leading process does.

    def save(self, steps_done: int) -> None:
        """Write the checkpoint; refuse one whose weights are not finite, so that the last good one stays.

        Raises:
            DivergedError: the weights are not finite.
        """
        model, optimizer, _, scaler = self._started()
        if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise DivergedError(f"the weights are not finite after step {steps_done - 1}: try a lower learning rate.")
        self.folder.save(
            {
                "config": self.config.to_dict(),
                "facts": self.identity,
                "step": steps_done,
                "processes": world().size,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),  # empty but in float16
            }
        )
        self._last_save = time.monotonic()

    def _write_about(self, device: torch.device) -> None:
        """Write down the settings of the run, and what it runs on."""
        about: dict[str, Any] = {
            "config": self.config.to_dict(),
            **self.identity,
            "environment": environment(device),
            "processes": world().size,
        }
        write_atomically(self.folder.path / "config.json", json.dumps(about, indent=2).encode())

    def _look(self, step: int) -> None:
        """Film and measure the model so far."""
        self._keep_frame(step + 1)
        if self.monitor:
            epoch = (step + 1) / self._started().steps_per_epoch
            self.metrics.write([{"step": step, "epoch": epoch, **self.monitor()}])
            if self.watch:
                self.watch(read_metrics(self.folder.path))

    def _keep_frame(self, steps_done: int) -> None:
        if self.film:
            epoch = steps_done / self._started().steps_per_epoch
            self.folder.save_frame(steps_done, {"epoch": epoch, **self.film()})

    def _started(self) -> _Training:
        assert self._training is not None, "the loop calls `start` first"
        return self._training
