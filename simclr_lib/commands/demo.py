"""``simclr demo``: all of SimCLR on the embedded data set, offline, in minutes, with a report to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simclr_lib.commands.common import (
    FILMED,
    Results,
    Stopwatch,
    columns,
    compare_encoder,
    epochs_for,
    evenly,
    few_label_parts,
    merge_seeds,
    new_folder,
    text_table,
    write_results,
)
from simclr_lib.commands.settings import DemoConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.data.emblems import CLASSES
from simclr_lib.device import environment, pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import (
    accuracy,
    knn_predict,
    make_film,
    pixel_features,
    project,
    summary,
    trustworthiness,
)
from simclr_lib.files import write_atomically
from simclr_lib.recipes import EMBLEMS, EMBLEMS_SUPERVISED
from simclr_lib.seeding import seeded
from simclr_lib.training import Interrupted, pretrain, read_film, read_metrics, train_supervised

if TYPE_CHECKING:
    from simclr_lib.teaching.report import Picture

SUPERVISED_EPOCHS = 5
FEW_LABEL_STEPS = 300
BUDGETS = (10, 100)  # labels per class
LOOK_EVERY = 2  # epochs between two looks at the features: each costs a second, and another as a frame of the film


def demo(config: DemoConfig) -> None:
    """Run ``simclr demo``: writes report.html, figures and results.json, and prints the table."""
    if not config.seeds:
        raise SimCLRError("--seeds needs at least one number.")
    if config.images < len(CLASSES) * max(BUDGETS):
        raise SimCLRError(
            f"the demo compares up to {max(BUDGETS)} labels a class: --images must be at least "
            f"{len(CLASSES) * max(BUDGETS):,}, not {config.images}."
        )
    device = pick_device(config.device)
    out = config.out or new_folder("demo")
    if (out / "results.json").exists():
        raise SimCLRError(f"{out} already holds a demo: choose another --out.")
    try:
        _run_demo(config, out, device)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; pretraining so far is saved. Continue with the same command and --out {out}"
        ) from None


def _run_demo(config: DemoConfig, out: Path, device: torch.device) -> None:
    clock = Stopwatch()
    resumed = any(out.glob("seed-*/checkpoint.pt"))  # then the seconds are only of the last part
    train, test = load_dataset("emblems", "train", limit=config.images), load_dataset("emblems", "test")
    shown = evenly(test, FILMED)
    clock.lap("drawing emblems")

    runs: list[Results] = []
    for seed in config.seeds:
        run_dir = out / f"seed-{seed}"
        begun = (run_dir / "checkpoint.pt").exists()
        settings = replace(
            EMBLEMS,
            seed=seed,
            epochs=config.epochs,
            device=config.device,
            resume=begun,
            monitor_every=LOOK_EVERY,
        )
        first = seed == config.seeds[0]
        print(f"seed {seed}: pretraining on {len(train):,} emblems for {config.epochs} epochs, without labels …")
        model = pretrain(train, settings, run_dir, filmed=shown if first else None)
        clock.lap("pretraining")
        print("reading the features out, beside a random encoder and pixels …")
        results, _, (h_train, _) = compare_encoder(model.encoder, settings, train, test, draws=1, budgets=BUDGETS)
        clock.lap("evaluation")
        print("training the same network with labels instead …")
        supervised = replace(EMBLEMS_SUPERVISED, seed=seed, device=config.device)
        few = few_label_parts(train, BUDGETS, seed)  # the images that the probe of SimCLR's features gets
        results["supervised"] = supervised_row(few, test, supervised, FEW_LABEL_STEPS)
        classifier = train_supervised(train, replace(supervised, epochs=SUPERVISED_EPOCHS))
        results["supervised"]["labels_all"] = summary([accuracy(classifier, test)])
        clock.lap("supervised")
        runs.append(results)
        if first:
            first_model, first_run_dir, first_h_train = model, run_dir, h_train

    results = merge_seeds(runs)
    print(text_table(results))
    print("drawing the report …")
    # Only here: the other commands must not wait for what draws.
    from simclr_lib.teaching.explorer import html_fragment, kinds_of_features, make_scene

    kinds = kinds_of_features(first_model, replace(EMBLEMS, seed=config.seeds[0]), shown)
    embeddings = {name: project(kinds[name]) for name in ("SimCLR h", "pixels")}
    trust = {name: trustworthiness(kinds[name], points) for name, points in embeddings.items()}
    pictures = draw_pictures(
        kinds, first_h_train, embeddings, trust, results, read_metrics(first_run_dir), train, shown
    )
    frames = list(read_film(first_run_dir, shown).items())
    every = 1 if len(frames) <= 8 else 2  # UMAP takes a second for each
    film = make_film("SimCLR h", dict(frames[::-every][::-1]), last=embeddings["SimCLR h"]) if frames else None
    explorer = html_fragment(make_scene(shown, kinds, embeddings, film=film, title="Emblems"))
    clock.lap("report")
    facts = environment(device)
    write_report(out, results, pictures, explorer, facts, config, clock)
    # Last, since it says that all of the folder is there.
    write_results(
        out / "results.json",
        {
            "what": "SimCLR on emblems; test accuracy after the last epoch",
            "environment": facts,
            "config": replace(EMBLEMS, epochs=config.epochs).to_dict(),
            "supervised": EMBLEMS_SUPERVISED.to_dict(),
            "seeds": list(config.seeds),
            "num_train": len(train),
            "num_test": len(test),
            "resumed": resumed,
            "seconds": {**clock.seconds, "total": clock.total},
            "trustworthiness": trust,
            "results": results,
        },
    )
    minutes, seconds = divmod(round(clock.total), 60)
    print(f"done in {minutes}:{seconds:02d} minutes. Open {out / 'report.html'} in a browser.")


def supervised_row(
    parts: Mapping[str, ImageDataset], test: ImageDataset, settings: TrainConfig, steps: int
) -> dict[str, dict]:
    """The same network and augmentations, trained from scratch for so many steps with the labels of each part."""
    row = {}
    for column, part in parts.items():
        batch_size = min(settings.batch_size, len(part))
        epochs = epochs_for(steps, len(part), batch_size)
        classifier = train_supervised(part, replace(settings, batch_size=batch_size, epochs=epochs))
        row[column] = summary([accuracy(classifier, test)])
    return row


def draw_pictures(
    kinds: Mapping[str, Tensor],
    h_train: Tensor,
    embeddings: Mapping[str, Tensor],
    trust: Mapping[str, float],
    results: Results,
    metrics: list[dict[str, float]],
    train: ImageDataset,
    shown: ImageDataset,
) -> list[Picture]:
    """The report's figures: of the features ``kinds`` and their ``embeddings`` of some test images, of the results."""
    # Only here: the other commands must not wait for matplotlib and scikit-learn.
    from sklearn.metrics import confusion_matrix

    from simclr_lib.teaching.plots import (
        plot_confusion,
        plot_embeddings,
        plot_label_efficiency,
        plot_neighbors,
        plot_training,
        plot_views,
    )
    from simclr_lib.teaching.report import Picture, format_accuracy

    h_test, pixels = kinds["SimCLR h"], kinds["pixels"]
    classes = shown.classes
    originals = shown.images[:6]
    augment = EMBLEMS.augment(shown.image_size)
    views = torch.stack([augment(originals, seeded(0, "report", i)) for i in range(8)], dim=1)
    predicted = knn_predict(h_train, train.labels, h_test)
    confusion = torch.from_numpy(confusion_matrix(shown.labels, predicted, labels=range(len(classes))))
    queries = slice(0, 6)  # of six classes

    return [
        Picture(
            "Two views of one image are all that SimCLR sees",
            "Each view is a random crop, perhaps flipped, with its colours jittered or gone. The network learns to "
            "tell which views come from the same image. No label is used.",
            plot_views(originals, views),
            "Six emblems in the first column; to the right of each, eight random views of it: crops with changed "
            "colours, some of them grey.",
        ),
        Picture(
            "It learns",
            "Left: the contrastive loss of every step. Right: how often the nearest neighbours of an unseen image, "
            "in the features so far, have its class.",
            plot_training(metrics, 2 * EMBLEMS.batch_size - 2),
            "Two curves over the epochs of pretraining: the loss, and the kNN accuracy on validation images.",
        ),
        Picture(
            "Few labels go a long way",
            "A linear output head on frozen features, against the same network trained with labels from scratch on "
            f"the same images, for {FEW_LABEL_STEPS} steps where they are few. With more steps it would do better: "
            "notebook 5 measures how much.",
            plot_label_efficiency(results, BUDGETS),
            "Accuracy against labels per class. With ten: "
            + ", ".join(f"{source} {format_accuracy(row['labels_10'])}" for source, row in results.items()),
        ),
        Picture(
            "The features fall into the classes",
            "A thousand test images, projected to two dimensions by UMAP. Distances between clusters mean little. "
            "Trustworthiness, which is 1 where all neighbours in the picture are neighbours among the features too, is "
            f"{trust['SimCLR h']:.2f} (pixels: {trust['pixels']:.2f}).",
            plot_embeddings(embeddings, shown.labels, classes),
            "Two scatter plots of the same images, by SimCLR's features and by pixels; each class has a colour and a "
            "marker.",
        ),
        Picture(
            "What the network thinks is similar",
            "The six training images nearest to a test image. Green and ✓: same class. Red and ✗: another class. "
            "Pixels go by colour, which the augmentations made useless to SimCLR.",
            plot_neighbors(
                shown.images[queries],
                shown.labels[queries],
                train.images,
                train.labels,
                {"SimCLR": (h_test[queries], h_train), "pixels": (pixels[queries], pixel_features(train))},
            ),
            "Six query emblems, each with its six nearest neighbours by SimCLR's features and the six by pixels.",
        ),
        Picture(
            "Where it errs",
            "kNN predictions for the thousand test images, in per cent of the true class.",
            plot_confusion(confusion, classes),
            f"Confusion matrix of the ten classes; {confusion.trace() / confusion.sum():.0%} of the images lie on its "
            "diagonal.",
        ),
    ]


def write_report(
    out: Path,
    results: Results,
    pictures: list[Picture],
    explorer: str,
    facts: dict[str, object],
    config: DemoConfig,
    clock: Stopwatch,
) -> None:
    """Write report.html and its figures as PNG files."""
    from simclr_lib.teaching.report import accuracy_table, format_accuracy, html_report, png_bytes

    for number, picture in enumerate(pictures, 1):
        name = picture.title.lower().replace(" ", "-")
        write_atomically(out / "figures" / f"{number}-{name}.png", png_bytes(picture.figure))
    ours, supervised = results["SimCLR"], results["supervised"]
    page = html_report(
        title="SimCLR on emblems",
        lead=f"A ResNet-18 of width {EMBLEMS.width}, pretrained for {config.epochs} epochs on {config.images:,} drawn "
        "images without a single label, then read out with a linear output head. All figures are test accuracies "
        "after the last epoch"
        + (f", mean ± standard deviation over {len(config.seeds)} seeds." if len(config.seeds) > 1 else "."),
        tiles=[
            (format_accuracy(ours["labels_all"]), "linear output head, all labels"),
            (format_accuracy(ours["labels_10"]), "with 10 labels per class"),
            (format_accuracy(supervised["labels_10"]), "trained from scratch on the same 10"),
            (format_accuracy(ours["knn"]), "kNN on the features, no head trained"),
        ],
        blocks=[
            (
                "Every source of features, every budget of labels",
                "Linear output heads on frozen features; “supervised” is the whole network trained with labels.",
                accuracy_table(results, columns(results)),
            ),
            (
                "Touch the features",
                f"{FILMED:,} test images. Point at one, click it for its true neighbours, switch to other "
                "features, or watch the film of the training.",
                explorer,
            ),
        ],
        pictures=pictures,
        facts={
            "command": str(facts["command"] or "simclr demo"),
            "machine": f"{facts['device']}, {facts['threads']} threads",
            "versions": f"torch {facts['torch']}, torchvision {facts['torchvision']}, Python {facts['python']}",
            "time": ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.seconds.items()),
            "seeds": ", ".join(map(str, config.seeds)),
            "paper": "T. Chen, S. Kornblith, M. Norouzi, G. Hinton: A Simple Framework for Contrastive Learning of "
            "Visual Representations, 2020, arXiv 2002.05709",
        },
    )
    write_atomically(out / "report.html", page.encode())
