"""``simclr sweep``: measured comparisons, each into one results file that anyone can make again."""

from __future__ import annotations

from dataclasses import replace

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_splits, split_indices
from simclr_lib.device import pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments.comparison import merge_seeds
from simclr_lib.experiments.rows import kept_rows, rows_identity
from simclr_lib.experiments.sweeps import SWEEPS, Budget, changes
from simclr_lib.recipes import PRESETS, SHORT
from simclr_lib.results import Result, text_table
from simclr_lib.settings import SweepConfig
from simclr_lib.training import new_folder


def sweep(config: SweepConfig, recipe: TrainConfig | None = None, budget: Budget | None = None) -> None:
    """Run ``simclr sweep``: writes the results file and prints the table.

    Args:
        config: settings of the command.
        recipe: settings of pretraining; by default a short recipe on emblems, and that of ``simclr train`` elsewhere.
        budget: how much is spent besides pretraining.
    """
    config.check()
    chosen = SWEEPS[config.name]
    recipe = replace(recipe or _recipe(config), dataset=config.dataset, epochs=config.epochs)
    base = replace(recipe, device=config.device, compile=config.compile)
    budget = budget or Budget()
    train, test = _images(config, recipe, budget)
    variants = chosen.chosen(base, config.only)
    if len(train) < (batch := max(variant.batch_size for variant in variants.values())):
        raise SimCLRError(f"{config.name} needs at least {batch} training images, one batch, not {len(train)}.")
    out, device = config.out or new_folder(config.name), pick_device(config.device)
    resolved = base.resolved(train.image_size, device)
    tested = "test accuracy" if config.held_out is None else "accuracy on images held out"
    with kept_rows(out, rows_identity(config.name, resolved, train, test), config.resume) as rows:
        table = merge_seeds([chosen.table(variants, seed, train, test, budget, rows) for seed in config.seeds])
        result = Result(
            f"{config.name} on {config.dataset}; {tested} after the last epoch",
            table,
            config={**resolved.to_dict(), "device": recipe.device},
            seeds=config.seeds,
            num_train=len(train),
            num_test=len(test),
            seconds={"total": rows.seconds},
            extra={"variants": changes(resolved, variants, train.image_size, device)},
        )
        result.write(out / "results.json", device)
        rows.remove()
    print(text_table(table, tested))
    print(f"results: {out / 'results.json'}")


def _images(config: SweepConfig, recipe: TrainConfig, budget: Budget) -> tuple[ImageDataset, ImageDataset]:
    """The images to train on, and those to test on."""
    where, size, reading = config.data_dir, recipe.image_size, recipe.reading()
    usual = (4096, budget.test_images) if config.dataset == "emblems" else (None, None)
    limits = {"train": config.images or usual[0], **({} if config.held_out else {"test": usual[1]})}
    train, *others = load_splits(config.dataset, limits, where, True, size, reading=reading).values()
    if others:
        return train, others[0]
    kept, held_out = map(train.subset, split_indices(train.labels, config.held_out or 0))
    return kept, held_out


def _recipe(config: SweepConfig) -> TrainConfig:
    """Return the recipe that a sweep starts from."""
    usual = SHORT if config.dataset == "emblems" else TrainConfig()
    return replace(PRESETS[config.preset] if config.preset else usual, validation=0.0)
