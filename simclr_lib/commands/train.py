"""``simclr train``: pretrain with SimCLR and train the output head; or train with labels."""

from __future__ import annotations

import dataclasses
import time

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
from simclr_lib.device import environment, pick_device
from simclr_lib.distributed import from_leader, joined, leader_first, restarted
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy, summary
from simclr_lib.training import pretrain, save_checkpoint, train_supervised


def train(config: TrainConfig) -> None:
    """Run ``simclr train``: writes the run's folder and prints the table of results.

    The processes that ``torchrun`` started train together; the leading one writes, evaluates and prints.
    """
    config.check()
    if config.resume and config.run_dir is None:
        raise SimCLRError("--resume needs --run-dir: name the folder of the run to continue.")
    if restarted() and config.run_dir is None:
        raise SimCLRError("a restart goes on from the run's folder: name it (--run-dir).")
    device = pick_device(config.device)
    clock = Stopwatch()

    def load(split: str, limit: int | None = None) -> ImageDataset:
        return load_dataset(config.dataset, split, config.data_dir, config.download, limit, config.image_size)

    with joined(device, config.timeout) as processes:
        processes.part(config.batch_size)  # before anything is written: an error if it does not divide
        with leader_first():
            training_images, test_images = load("train", config.limit), load("test")
            # STL-10 has a part without labels, made for this.
            unlabeled = load("unlabeled", config.limit) if config.dataset == "stl10" and config.contrastive else None
        clock.lap("data")

        method = "simclr" if config.contrastive else "supervised"
        name = f"{config.dataset}-resnet{config.base_model}-{method}-{time.strftime('%Y%m%d-%H%M%S')}"
        run_dir = from_leader(config.run_dir or new_folder(name))
        go_on = from_leader(config.resume or (restarted() and (run_dir / "checkpoint.pt").exists()))
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
