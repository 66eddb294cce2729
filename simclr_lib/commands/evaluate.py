"""``simclr evaluate``: the worth of a checkpoint's features."""

from __future__ import annotations

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.commands.common import Stopwatch
from simclr_lib.device import pick_device
from simclr_lib.experiments.comparison import compare_encoder, few_label_parts, fine_tuned_row
from simclr_lib.results import Result, text_table
from simclr_lib.settings import EvaluateConfig


def evaluate(config: EvaluateConfig) -> None:
    """Run ``simclr evaluate``: writes evaluation.json and prints the table of kNN, linear probe and few labels."""
    clock = Stopwatch()
    run = open_run(config)
    encoder = run.model.encoder
    train, test = (part.labelled for part in run.splits("train", "test", limit=config.limit))
    table, *_ = compare_encoder(encoder, run.settings, train, test, budgets=config.budgets)
    if not run.settings.contrastive:
        table = {"supervised features": table.pop("SimCLR"), **table}
    if config.fine_tune:
        parts = {**few_label_parts(train, config.budgets, run.settings.seed), "labels_all": train}
        table["fine-tuned" if "SimCLR" not in table else "SimCLR, fine-tuned"] = fine_tuned_row(
            encoder, parts, test, run.settings
        )
    file = run.out / ("evaluation.json" if config.dataset is config.images is None else f"evaluation-{test.name}.json")
    what = f"{config.checkpoint} on {test.name}; test accuracy"
    result = Result(what, table, num_train=len(train), num_test=len(test), seconds={"total": clock.total})
    result.write(file, pick_device(config.device))
    print(text_table(table))
    print(f"results: {file}")
