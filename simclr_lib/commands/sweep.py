"""``simclr sweep``: measured comparisons on emblems, each into one results file that anyone can make again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from simclr_lib.commands.common import (
    Results,
    Stopwatch,
    evaluate_baselines,
    evaluate_encoder,
    merge_seeds,
    new_folder,
    text_table,
    write_results,
)
from simclr_lib.commands.demo import RECIPE
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.device import environment, pick_device
from simclr_lib.errors import SimCLRError, unknown_name
from simclr_lib.training import pretrain

SHORT = replace(RECIPE, epochs=12, validation=0.0)  # enough to tell variants apart, at a minute a run

TEST_IMAGES = 1024

NO_CROP = {"crop_min": 1.0}
NO_COLOR = {"color_prob": 0.0, "gray_prob": 0.0}


def variants(name: str) -> dict[str, TrainConfig]:
    """The variants of a sweep: what they are called and how they are trained.

    crop-color is the question of the paper's figure 5: which augmentations must come together?
    """
    sweeps: dict[str, Callable[[], dict[str, TrainConfig]]] = {
        "crop-color": lambda: {
            "crop only": replace(SHORT, **NO_COLOR),  # type: ignore[arg-type]
            "color only": replace(SHORT, **NO_CROP),  # type: ignore[arg-type]
            "crop + color": SHORT,
        },
    }
    if name not in sweeps:
        raise unknown_name("sweep", name, sweeps)
    return sweeps[name]()


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``simclr sweep``."""

    name: Annotated[str, tyro.conf.Positional]
    """crop-color."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant with each seed."""
    epochs: int = SHORT.epochs
    """Epochs of pretraining."""
    images: int = 4096
    """Training images."""
    out: Path | None = None
    """Folder for results.json; a new one below ./runs by default."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto is the GPU if there is one."""


def sweep(config: SweepConfig) -> None:
    """Run ``simclr sweep``: prints the table and writes the results file."""
    if not config.seeds:
        raise SimCLRError("--seeds needs at least one number.")
    if config.images < SHORT.batch_size:
        raise SimCLRError(f"--images must be at least {SHORT.batch_size}, one batch, not {config.images}.")
    named = variants(config.name)
    out = (config.out or new_folder(config.name)) / "results.json"
    if out.exists():
        raise SimCLRError(f"{out.parent} already holds results: choose another --out.")
    clock = Stopwatch()
    train = load_dataset("emblems", "train", limit=config.images)
    test = load_dataset("emblems", "test", limit=TEST_IMAGES)
    runs: list[Results] = []
    for seed in config.seeds:
        rows = evaluate_baselines(replace(SHORT, seed=seed, device=config.device), train, test)
        for variant, settings in named.items():
            settings = replace(settings, seed=seed, epochs=config.epochs, device=config.device)
            print(f"{config.name}, seed {seed}: {variant} …", flush=True)
            model = pretrain(train, settings)
            rows[f"SimCLR, {variant}"], _ = evaluate_encoder(model.encoder, settings, train, test)
        runs.append(rows)
    results = merge_seeds(runs)
    print(text_table(results))
    write_results(
        out,
        {
            "what": f"{config.name} on emblems; test accuracy after the last epoch",
            "environment": environment(pick_device(config.device)),
            "config": replace(SHORT, epochs=config.epochs).to_dict(),
            "variants": {
                variant: {key: value for key, value in settings.to_dict().items() if value != SHORT.to_dict()[key]}
                for variant, settings in named.items()
            },
            "seeds": list(config.seeds),
            "num_train": len(train),
            "num_test": len(test),
            "seconds": clock.total,
            "results": results,
        },
    )
    print(f"results: {out}")
