"""``simclr sweep``: measured comparisons, each into one results file that anyone can make again."""

from __future__ import annotations

from dataclasses import replace

from simclr_lib.commands.common import Stopwatch, check_writable
from simclr_lib.commands.settings import SweepConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_splits
from simclr_lib.device import pick_device
from simclr_lib.errors import SimCLRError, unknown_name
from simclr_lib.experiments.comparison import merge_seeds
from simclr_lib.experiments.sweeps import SWEEPS, Budget, Sweep
from simclr_lib.recipes import PRESETS, SHORT
from simclr_lib.results import Result, text_table
from simclr_lib.training import new_folder


def sweep(config: SweepConfig, recipe: TrainConfig | None = None, budget: Budget | None = None) -> None:
    """Run ``simclr sweep``: writes the results file and prints the table.

    Args:
        config: settings of the command.
        recipe: settings of pretraining; by default a short recipe on emblems, and that of ``simclr train`` elsewhere.
        budget: how much is spent besides pretraining.
    """
    chosen = _chosen_sweep(config)
    recipe = replace(recipe or _recipe(config), dataset=config.dataset, epochs=config.epochs)
    base = replace(recipe, device=config.device)
    budget = budget or Budget()
    if config.out:
        check_writable(config.out)
        if (config.out / "results.json").exists():
            raise SimCLRError(f"{config.out} already holds results: choose another --out.")
    clock = Stopwatch()
    limits = (config.images or 4096, budget.test_images) if config.dataset == "emblems" else (config.images, None)
    train, test = load_splits(
        config.dataset,
        dict(zip(("train", "test"), limits, strict=True)),
        config.data_dir,
        download=True,
        image_size=recipe.image_size,
        reading=recipe.reading(),
    ).values()
    variants = chosen.variants(base)
    largest_batch = max(variant.batch_size for variant in variants.values())
    if len(train) < largest_batch:
        raise SimCLRError(f"{config.name} needs at least {largest_batch} training images, one batch, not {len(train)}.")
    out = (config.out or new_folder(config.name)) / "results.json"

    seeds = [chosen.variants(replace(base, seed=seed)) for seed in config.seeds]
    table = merge_seeds([chosen.measure(variants_of_seed, train, test, budget) for variants_of_seed in seeds])

    device = pick_device(config.device)
    common = base.resolved(train.image_size, device).to_dict()
    changed = {
        name: {
            key: value
            for key, value in variant.resolved(train.image_size, device).to_dict().items()
            if value != common[key]
        }
        for name, variant in variants.items()
    }
    result = Result(
        f"{config.name} on {config.dataset}; test accuracy after the last epoch",
        table,
        config={**common, "device": recipe.device},
        seeds=config.seeds,
        num_train=len(train),
        num_test=len(test),
        seconds={"total": clock.total},
        extra={"variants": changed},
    )
    result.write(out, device)
    print(text_table(table))
    print(f"results: {out}")


def _recipe(config: SweepConfig) -> TrainConfig:
    """Return the recipe that a sweep starts from."""
    usual = SHORT if config.dataset == "emblems" else TrainConfig()
    return replace(PRESETS[config.preset] if config.preset else usual, validation=0.0)


def _chosen_sweep(config: SweepConfig) -> Sweep:
    config.check()
    if config.name not in SWEEPS:
        raise unknown_name("sweep", config.name, SWEEPS)
    chosen = SWEEPS[config.name]
    if config.dataset != "emblems" and chosen.only_emblems:
        raise SimCLRError(f"{config.name} compares recipes that were chosen for emblems: leave out --dataset.")
    return chosen
