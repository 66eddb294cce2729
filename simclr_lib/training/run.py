"""A run's folder: configuration, metrics, checkpoint. Watches the training loop and can continue an earlier run."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simclr_lib.config import FREE_ON_RESUME, TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import environment
from simclr_lib.distributed import agree, distribute, from_leader, world
from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically
from simclr_lib.loop import DivergedError
from simclr_lib.training.checkpoint import load_checkpoint, save_checkpoint

FILM = "film"  # folder of the filmed images' features
WRITTEN = ("config.json", "metrics.jsonl", "results.json")  # beside the checkpoint


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the checkpoint was saved. The message says how to go on."""


class Run:
    """The folder of one training run; an `Observer` of the loop.

    The folder holds ``config.json`` (settings, command, versions, hardware), ``metrics.jsonl`` (a line a step, and a
    line a look at the validation images), ``checkpoint.pt`` (model, optimiser, step), perhaps ``film`` (features of
    some images, a file a look) and, at the end, ``results.json``. Since every random choice is a function of seed and
    step (`simclr_lib.loop`), model, optimiser and step are all that it takes to continue bit for bit.

    Use it as a context manager around training: within it, Ctrl-C (or the SIGTERM of a job scheduler) finishes the
    step, saves and raises `Interrupted`; a second Ctrl-C stops at once. With several processes, all call it, and the
    leading one writes; ``torchrun`` gives them 30 seconds to do so before it kills them.

    Args:
        path: the folder. It may hold a run only if ``config.resume``.
        config: the run's settings.
        facts: what else must be the same on resuming, see `facts_of`; stored with the settings.
    """

    def __init__(self, path: Path, config: TrainConfig, facts: dict[str, object] | None = None) -> None:
        self.path = Path(path)
        self.checkpoint_path = self.path / "checkpoint.pt"
        self.metrics_path = self.path / "metrics.jsonl"
        self.config = config
        self.facts = facts or {}
        self.monitor: Callable[[], dict[str, float]] | None = None
        self.watch: Callable[[list[dict[str, float]]], None] | None = None
        self.frame: Callable[[], tuple[str, Tensor]] | None = None
        self.interrupted = False
        self.leads = world().leads
        if self.leads:  # the other processes go by what this one finds
            self._check_folder()
        self.resumed = load_checkpoint(self.checkpoint_path) if config.resume and self.leads else None
        if self.resumed:
            self._check_same_run(self.resumed)
        self._summary_writer = _summary_writer() if config.tensorboard else None  # now: a missing package is said first
        self._tensorboard: Any = None

    def _check_folder(self) -> None:
        config = self.config
        if self.checkpoint_path.exists() and not config.resume:
            raise SimCLRError(f"{self.path} already holds a run: continue it (--resume), or choose another folder.")
        in_the_way = [name for name in WRITTEN if (self.path / name).exists()]
        if in_the_way and not config.resume:
            raise SimCLRError(
                f"{self.path} has no checkpoint, but a {in_the_way[0]} that would be lost: choose another folder."
            )
        if config.resume and not self.checkpoint_path.exists():
            raise SimCLRError(f"there is no checkpoint in {self.path} to resume: leave out --resume to start there.")

    def _check_same_run(self, state: dict[str, Any]) -> None:
        if not {"config", "facts", "step", "model", "optimizer"} <= state.keys():
            raise SimCLRError(f"{self.checkpoint_path} is not the checkpoint of a run: choose another folder.")
        # From an older version, settings that it did not have are as they are by default.
        settings = TrainConfig.from_dict(state["config"]).to_dict()
        then, now = {**settings, **state["facts"]}, {**self.config.to_dict(), **self.facts}
        changed = [
            f"{name.replace('_', '-')} was {then.get(name)!r:.60}, is {now.get(name)!r:.60}"
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name) and name not in FREE_ON_RESUME
        ]
        by, here = state.get("processes", 1), world().size
        if by != here and (self.config.micro_batch or not self.config.global_negatives):
            changed.append(f"processes were {by}, are {here}: local negatives and micro-batches depend on them")
        if changed:
            raise SimCLRError(
                f"{self.checkpoint_path} is from another configuration ({'; '.join(changed)}): "
                "use the same settings, or another folder."
            )

    # The loop calls these; see `simclr_lib.loop.Observer`.

    def begin(self, model: nn.Module, optimizer: Optimizer, steps_per_epoch: int) -> int:
        self.model, self.optimizer, self.steps_per_epoch = model, optimizer, steps_per_epoch
        self.total_steps = steps_per_epoch * self.config.epochs
        epochs_a_look = self.config.monitor_every or max(1, round(self.config.epochs / 10))
        self.steps_a_look = epochs_a_look * steps_per_epoch
        step = 0
        resumed = from_leader(self.resumed)
        if resumed:
            try:
                model.load_state_dict(resumed["model"])
                optimizer.load_state_dict(resumed["optimizer"])
            except (RuntimeError, ValueError) as error:
                raise SimCLRError(
                    f"the weights in {self.checkpoint_path} do not fit its settings: it is damaged. Use another copy."
                ) from error
            step = resumed["step"]
        self.last_time = self.last_save = time.monotonic()
        if not self.leads:
            return step
        if not resumed:
            self._film(0)
            self.save(0)  # from here on there is something to resume
        device = next(model.parameters()).device
        about = {
            "config": self.config.to_dict(),
            **self.facts,
            "environment": environment(device),
            "processes": world().size,
        }
        write_atomically(self.path / "config.json", json.dumps(about, indent=2).encode())
        self._keep_metrics_before(step)
        for frame in (self.path / FILM).glob("*.pt"):
            if int(frame.stem) > step:  # from after the last checkpoint: it will be there again
                frame.unlink()
        if self._summary_writer:
            self._tensorboard = self._summary_writer(str(self.path), purge_step=step)
        self.last_time = self.last_save = time.monotonic()
        return step

    def losses(self, first_step: int, losses: list[float], lrs: list[float]) -> None:
        if not self.leads:
            return
        seconds = time.monotonic() - self.last_time
        self.last_time += seconds
        speed = round(len(losses) * self.config.batch_size / max(seconds, 1e-9), 1)
        self._log(
            {"step": step, "epoch": step / self.steps_per_epoch, "loss": loss, "lr": lr, "images_per_second": speed}
            for step, (loss, lr) in enumerate(zip(losses, lrs, strict=True), first_step)
        )

    def due(self, step: int) -> bool:
        looking = (self.monitor or self.frame) is not None and (
            (step + 1) % self.steps_a_look == 0 or step + 1 == self.total_steps
        )
        saving = step + 1 == self.total_steps or time.monotonic() - self.last_save >= self.config.checkpoint_seconds
        self._looking, self._saving, self._stopping = agree(looking, saving and self.leads, self.interrupted)
        return self._looking or self._saving or self._stopping

    def act(self, step: int) -> None:
        if self._looking and self.leads:
            self._film(step + 1)
        if self._looking and self.leads and self.monitor:
            self._log([{"step": step, "epoch": (step + 1) / self.steps_per_epoch, **self.monitor()}])
            if self.watch:
                self.watch(read_metrics(self.path))
        (stop,) = agree(self._stopping or self.interrupted)  # perhaps only while looking
        if (self._saving or stop) and self.leads:
            self.save(step + 1)
        if stop:
            agree()  # none leaves before all is saved
            raise Interrupted(
                f"stopped after step {step + 1} of {self.total_steps}; everything is saved. Continue with the "
                f"same command and --resume --run-dir {self.path} (in a notebook: run the cell again)"
            )
        self.last_time = time.monotonic()  # looking and saving are not training time

    def save(self, steps_done: int, **extra: object) -> None:
        """Write the checkpoint; refuse one whose weights are not finite, so that the last good one stays."""
        norms = torch.stack(torch._foreach_norm([p.detach() for p in self.model.parameters()]))
        if not norms.isfinite().all():
            raise DivergedError(f"the weights are not finite after step {steps_done - 1}: try a lower learning rate.")
        state = {
            "config": self.config.to_dict(),
            "facts": self.facts,
            "step": steps_done,
            "processes": world().size,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **extra,
        }
        save_checkpoint(self.checkpoint_path, state)
        self.last_save = time.monotonic()

    def _film(self, steps_done: int) -> None:
        if self.frame:
            of, h = self.frame()
            frame = {"epoch": steps_done / self.steps_per_epoch, "images": of, "h": h.half()}
            save_checkpoint(self.path / FILM / f"{steps_done:08d}.pt", frame)

    # Metrics.

    def _log(self, records: Any) -> None:
        records = list(records)
        try:
            with self.metrics_path.open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
        except OSError as error:
            raise SimCLRError(
                f"cannot write {self.metrics_path}: {error.strerror}. Free some space or choose another folder; "
                "the last checkpoint is as it was."
            ) from error
        if self._tensorboard:
            for record in records:
                for name, value in record.items():
                    if name not in ("step", "epoch"):
                        self._tensorboard.add_scalar(name, value, record["step"])

    def _keep_metrics_before(self, step: int) -> None:
        """Drop what a killed run logged after its last checkpoint: it will be logged again."""
        kept = [json.dumps(r) + "\n" for r in read_metrics(self.path) if r["step"] < step]
        write_atomically(self.metrics_path, "".join(kept).encode())

    # Signals.

    def __enter__(self) -> Run:
        self._old_handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old_handlers[number] = signal.signal(number, self._on_interrupt)
        return self

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        # A lost process makes torchrun send SIGTERM to the others: they are to say what happened rather than just end.
        if self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        already, self.interrupted = self.interrupted, True
        if already or not self.leads:
            return
        print("\nsaving after this step … (Ctrl-C again stops at once)", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        if self._tensorboard:
            self._tensorboard.close()
        if isinstance(error, DivergedError):
            kept = f"The last good checkpoint is {self.checkpoint_path}." if self.checkpoint_path.exists() else ""
            raise DivergedError(f"{error} {kept}".rstrip()) from error


def prepare(model: nn.Module, config: TrainConfig) -> nn.Module:
    """The network to call in training: of all processes together, and compiled if the settings ask for it."""
    network = distribute(model)
    if config.compile:
        on_gpu = next(model.parameters()).device.type == "cuda"
        return torch.compile(network, mode="reduce-overhead" if on_gpu else "default")  # type: ignore[return-value]
    return network


def facts_of(task: str, dataset: ImageDataset) -> dict[str, object]:
    """What must be the same on resuming, besides the settings: "pretrain" or "supervised", and which images."""
    return {
        "task": task,
        "num_images": len(dataset),
        "images": dataset.fingerprint(),
        "image_size": dataset.image_size,
        "classes": dataset.classes,
    }


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """The lines of a run's ``metrics.jsonl``; a last line that was cut off is left out."""
    path = Path(run_dir) / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def read_film(run_dir: Path, filmed: ImageDataset) -> dict[str, Tensor]:
    """The features of some images at each moment that a run kept: "epoch 3" → float32 [N, D]; {} if of other images."""
    frames = [load_checkpoint(path) for path in sorted((Path(run_dir) / FILM).glob("*.pt"))]
    of = filmed.fingerprint()
    return {f"epoch {frame['epoch']:.3g}": frame["h"].float() for frame in frames if frame["images"] == of}


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SimCLRError("--tensorboard needs a package that is not here: pip install tensorboard") from None
    return SummaryWriter
