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
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy, summary
from simclr_lib.training import pretrain, save_checkpoint, train_supervised


def train(config: TrainConfig) -> None:
    """Run ``simclr train``: writes the run's folder and prints the table of results."""
    config.check()
    if config.resume and config.run_dir is None:
        raise SimCLRError("--resume needs --run-dir: name the folder of the run to continue.")
    device = pick_device(config.device)
    clock = Stopwatch()

    def load(split: str, limit: int | None = None) -> ImageDataset:
        return load_dataset(config.dataset, split, config.data_dir, config.download, limit, config.image_size)

    training_images, test_images = load("train", config.limit), load("test")
    # STL-10 has a part without labels, made for this.
    unlabeled = load("unlabeled", config.limit) if config.dataset == "stl10" and config.contrastive else None
    clock.lap("data")

    method = "simclr" if config.contrastive else "supervised"
    name = f"{config.dataset}-resnet{config.base_model}-{method}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = config.run_dir or new_folder(name)
    config = dataclasses.replace(config, run_dir=run_dir)
    num_pretrain = len(unlabeled or training_images)
    print(f"{method} on {num_pretrain:,} images of {training_images.name}, {device}, run folder {run_dir}")

    results: Results
    if config.contrastive:
        model = pretrain(
            unlabeled or training_images,
            config,
            run_dir,
            labelled=training_images,
            filmed=evenly(test_images, FILMED),
        )
        clock.lap("pretraining")
        results, head, _ = compare_encoder(model.encoder, config, training_images, test_images)
        save_checkpoint(run_dir / "output_head.pt", {"head": head.state_dict(), "classes": test_images.classes})
    else:
        classifier = train_supervised(training_images, config, run_dir)
        clock.lap("training")
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
            "seconds": {**clock.seconds, "total": clock.total},
            "results": results,
        },
    )
    print(f"results: {run_dir / 'results.json'}")
