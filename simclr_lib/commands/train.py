"""``simclr train``: pretrain with SimCLR and train the output head; or train with labels."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

import torch

from simclr_lib.commands.common import Stopwatch
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_parts, load_splits
from simclr_lib.describe import describe, format_minutes
from simclr_lib.device import check_compiler, check_precision, pick_device
from simclr_lib.distributed import World, first_on_each_machine, from_leader, joined, recall, remember
from simclr_lib.evaluation import accuracy
from simclr_lib.experiments.comparison import compare_encoder, evenly, output_head
from simclr_lib.experiments.scaling import seconds_of_steps
from simclr_lib.files import CHECKPOINT, OUTPUT_HEAD
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.objectives import check_micro_batch
from simclr_lib.recipes import FILMED
from simclr_lib.results import Result, Table, summary, text_table
from simclr_lib.training import (
    RunFolder,
    load_checkpoint,
    new_folder,
    pretrain,
    save_checkpoint,
    train_supervised,
    training_rows,
)
from simclr_lib.training.pretraining import has_classes
from simclr_lib.training.run_folder import removed_if_empty

Data = dict[str, ImageDataset]
"""Part of the data set → images: "train", "test", and perhaps "unlabeled"."""


def train(config: TrainConfig) -> None:
    """Run ``simclr train``: writes the run's folder and prints the table of results.

    The processes that ``torchrun`` started train together; the leading one writes, evaluates and prints.
    """
    config.check()
    config.check_start()
    device = pick_device(config.device)
    clock = Stopwatch()
    with joined(device, config.timeout) as processes, contextlib.ExitStack() as stack:
        # These errors are found before anything is written.
        check_precision(device, config.precision)
        if config.compile:
            check_compiler(device)
        config.check_network()
        check_micro_batch(config.micro_batch, processes.rows(config.batch_size))
        with first_on_each_machine():
            data = _load(config)
        clock.lap("data")
        config = _in_its_folder(config, processes)
        stack.enter_context(removed_if_empty(Path(config.run_dir or "")))
        config = _resolved(config, data, device)
        if processes.leads:
            team = f"{processes.size} processes, " if processes.size > 1 else ""
            images = f"{len(_trained_on(data)):,} images of {data['train'].name}"
            print(f"{_method(config)} on {images}, {team}{device}, run folder {config.run_dir}")
            print(describe(config, watched=has_classes(data["train"].labelled)))
        seconds = _estimated_seconds(config, data, device, processes)
        if processes.leads:
            uncompiled = ", without --compile" if config.compile else ""
            print(f"estimated time{uncompiled}: {format_minutes(seconds)}", flush=True)
        if config.contrastive:
            model: SimCLR | Classifier = pretrain(
                _trained_on(data),
                config,
                config.run_dir,
                labelled=_watched(data),
                filmed=evenly(data.get("test", data["train"]), FILMED),
            )
            clock.lap("pretraining")
        else:
            model = train_supervised(data["train"], config, config.run_dir)
            clock.lap("training")
    if processes.leads:
        table = _evaluate(model, config, data)
        clock.lap("evaluation")
        _report(table, config, data, processes, clock)


def _load(config: TrainConfig) -> Data:
    """All parts of the data set; to train with labels, the labelled images of "train" and "test"."""
    if config.contrastive:
        return load_parts(
            config.dataset,
            config.data_dir,
            config.download,
            limit=config.limit,
            image_size=config.image_size,
            labels=config.labels,
            reading=config.reading(),
        )
    parts = load_splits(
        config.dataset,
        {"train": config.limit, "test": None},
        config.data_dir,
        config.download,
        config.image_size,
        config.labels,
        config.reading(),
    )
    return {name: part.labelled for name, part in parts.items()}


def _trained_on(data: Data) -> ImageDataset:
    return data.get("unlabeled", data["train"])


def _watched(data: Data) -> ImageDataset | None:
    """The images to measure the kNN accuracy on where those that are trained on have no labels."""
    return data["train"] if "unlabeled" in data else None


def _method(config: TrainConfig) -> str:
    return "simclr" if config.contrastive else "supervised"


def _in_its_folder(config: TrainConfig, processes: World) -> TrainConfig:
    """The settings with the folder that all processes use, and with ``resume`` where ``torchrun`` has restarted us."""
    earlier = from_leader(recall("run folder"))  # remembered before torchrun lost a process
    folder = Path(earlier) if earlier else config.run_dir
    if folder is None and processes.leads:
        folder = new_folder(f"{config.dataset}-{config.network}-{_method(config)}-{time.strftime('%Y%m%d-%H%M%S')}")
    run_dir = from_leader(folder or Path())
    begun = from_leader((run_dir / CHECKPOINT).exists())
    go_on = config.resume or (begun and earlier is not None)
    if go_on or not begun:  # do not adopt a run that an earlier command left here
        remember("run folder", str(run_dir))
    return dataclasses.replace(config, run_dir=run_dir, resume=go_on)


def _resolved(config: TrainConfig, data: Data, device: torch.device) -> TrainConfig:
    """Fill in what the settings leave open, from the run that is resumed, and let a batch fit the images."""
    count = len(training_rows(_trained_on(data), config, _watched(data)) if config.contrastive else data["train"])
    if config.batch_size > count > 1:
        print(f"the batch size is {count}, the number of training images, instead of {config.batch_size}")
        config = dataclasses.replace(config, batch_size=count)
    earlier, run_dir = None, config.run_dir
    if config.resume and run_dir and (run_dir / CHECKPOINT).exists():
        earlier = RunFolder(run_dir, load_checkpoint(run_dir)).settings()
    images = _trained_on(data)
    return config.resolved(images.image_size, device, earlier, images.reading)


def _estimated_seconds(config: TrainConfig, data: Data, device: torch.device, processes: World) -> float:
    """The duration of the training, from a few steps of pretraining. A step with labels has half as many views."""
    images = _trained_on(data)
    fixed, per_image = seconds_of_steps(dataclasses.replace(config, compile=False), images.image_size, device)
    views = 1.0 if config.contrastive else 0.5
    num_images = len(training_rows(images, config, _watched(data)) if config.contrastive else images)
    step = fixed + views * per_image * processes.rows(config.batch_size)
    return config.epochs * (num_images // config.batch_size) * step


def _evaluate(model: SimCLR | Classifier, config: TrainConfig, data: Data) -> Table:
    """The table of results. The output head that SGD trained on SimCLR's features is saved in the run's folder."""
    if isinstance(model, Classifier):
        return {"supervised": {"labels_all": summary([accuracy(model, data["test"], config.precision)])}}
    train, test = data["train"].labelled, data["test"].labelled if "test" in data else None
    if len(train.labels.unique()) < 2:
        lack = "are of one class only" if len(train) else "have no labels to test the features with"
        print(f"the images {lack}; look at them with simclr embed")
        return {}
    table: Table = {}
    if test:
        table, head, _ = compare_encoder(model.encoder, config, train, test)
    else:
        print(f"no test image has a label: the output head is trained on {len(train):,} images, and not tested")
        head = output_head(model.encoder, config, train)
    file = Path(config.run_dir or "") / OUTPUT_HEAD
    if file.exists():
        print(f"{file} is written anew")
    save_checkpoint(file, {"head": head.state_dict(), "classes": train.classes})
    return table


def _report(table: Table, config: TrainConfig, data: Data, processes: World, clock: Stopwatch) -> None:
    extra: dict[str, object] = {"processes": processes.size}
    if "unlabeled" in data:
        extra["num_pretrain"] = len(data["unlabeled"])
    result = Result(
        f"{_method(config)} on {data['train'].name}; test accuracy after the last epoch",
        table,
        config=config.to_dict(),
        num_train=len(data["train"]),
        num_test=len(data.get("test", ())),
        seconds=clock.laps(),
        extra=extra,
    )
    file = Path(config.run_dir or "") / "results.json"
    result.write(file, pick_device(config.device))
    if table:
        print(text_table(table))
    print(f"results: {file}\nfor a page with pictures: simclr report {file.parent}")
