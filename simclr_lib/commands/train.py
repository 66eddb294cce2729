"""``simclr train``: pretrain with SimCLR and train the output head; or train with labels."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from simclr_lib.commands.common import (
    FILMED,
    Results,
    Stopwatch,
    compare_encoder,
    evenly,
    new_folder,
    text_table,
    write_results,
)
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import autocast, environment, pick_device
from simclr_lib.distributed import first_on_each_machine, from_leader, joined, recall, remember
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy, summary
from simclr_lib.objectives import check_micro_batch
from simclr_lib.training import pretrain, save_checkpoint, train_supervised


def train(config: TrainConfig) -> None:
    """Run ``simclr train``: writes the run's folder and prints the table of results.

    The processes that ``torchrun`` started train together; the leading one writes, evaluates and prints.
    """
    config.check()
    if config.resume and config.run_dir is None:
        raise SimCLRError("--resume needs --run-dir: name the folder of the run to continue.")
    device = pick_device(config.device)
    clock = Stopwatch()

    def load(split: str, limit: int | None = None) -> ImageDataset:
        return load_dataset(config.dataset, split, config.data_dir, config.download, limit, config.image_size)

    with joined(device, config.timeout) as processes:
        # Errors that are to be found before anything is written.
        autocast(device, config.precision)
        check_micro_batch(config.micro_batch, processes.rows(config.batch_size))
        with first_on_each_machine():
            training_images, test_images = load("train", config.limit), load("test")
            # STL-10 has a part without labels, made for this.
            unlabeled = load("unlabeled", config.limit) if config.dataset == "stl10" and config.contrastive else None
        clock.lap("data")

        method = "simclr" if config.contrastive else "supervised"
        name = f"{config.dataset}-resnet{config.base_model}-{method}-{time.strftime('%Y%m%d-%H%M%S')}"
        before_restart = from_leader(recall("run folder"))  # by torchrun, after it has lost a process
        run_dir = from_leader(Path(before_restart) if before_restart else config.run_dir or new_folder(name))
        begun = from_leader((run_dir / "checkpoint.pt").exists())
        go_on = config.resume or (begun and before_restart is not None)
        if go_on or not begun:  # else it is somebody else's folder, and stays so however often we start
            remember("run folder", str(run_dir))
        config = dataclasses.replace(config, run_dir=run_dir, resume=go_on)
        num_pretrain = len(unlabeled or training_images)
        if processes.leads:
            by = f"{processes.size} processes, " if processes.size > 1 else ""
            print(f"{method} on {num_pretrain:,} images of {training_images.name}, {by}{device}, run folder {run_dir}")

        if config.contrastive:
            filmed = evenly(test_images, FILMED)
            model = pretrain(unlabeled or training_images, config, run_dir, labelled=training_images, filmed=filmed)
            clock.lap("pretraining")
        else:
            classifier = train_supervised(training_images, config, run_dir)
            clock.lap("training")
    if not processes.leads:
        return

    results: Results
    if config.contrastive:
        results, head, _ = compare_encoder(model.encoder, config, training_images, test_images)
        save_checkpoint(run_dir / "output_head.pt", {"head": head.state_dict(), "classes": test_images.classes})
    else:
        results = {"supervised": {"labels_all": summary([accuracy(classifier, test_images, config.precision)])}}
    clock.lap("evaluation")
    print(text_table(results))

    write_results(
        run_dir / "results.json",
        {
            "what": f"{method} on {training_images.name}; test accuracy after the last epoch",
            "environment": environment(device),
            "config": config.to_dict(),
            **({"num_pretrain": num_pretrain} if unlabeled else {}),
            "num_train": len(training_images),
            "num_test": len(test_images),
            "processes": processes.size,
            "seconds": {**clock.seconds, "total": clock.total},
            "results": results,
        },
    )
    print(f"results: {run_dir / 'results.json'}")
