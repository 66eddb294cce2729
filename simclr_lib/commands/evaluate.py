"""``simclr evaluate`` and ``simclr embed``: what a checkpoint's features are worth, and how they look."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from simclr_lib.commands.common import (
    FILMED,
    compare_encoder,
    evenly,
    few_label_parts,
    text_table,
    write_results,
)
from simclr_lib.commands.settings import CheckpointConfig, EmbedConfig, EvaluateConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import environment, pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import (
    extract_features,
    make_film,
    project,
    summary,
    trustworthiness,
)
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.training import fine_tune, load_run, read_film

EXPLORED = 5_000  # images in an explorer without a film: its file stays below 15 MB


def _prepare(config: CheckpointConfig) -> tuple[SimCLR, TrainConfig, ImageDataset, ImageDataset, Path]:
    model, settings = load_run(config.checkpoint, pick_device(config.device))
    train, test = (
        load_dataset(
            config.dataset or settings.dataset,
            split,
            config.data_dir or settings.data_dir,
            limit=config.limit,
            image_size=settings.image_size,
        )
        for split in ("train", "test")
    )
    settings = replace(settings, device=config.device)  # not the one that it was trained on
    folder = config.checkpoint if config.checkpoint.is_dir() else config.checkpoint.parent
    return model, settings, train, test, config.out or folder


def evaluate(config: EvaluateConfig) -> None:
    """Run ``simclr evaluate``: prints the kNN / linear / few-label table and writes evaluation.json."""
    if min(config.budgets, default=0) < 1:
        raise SimCLRError("--budgets needs numbers of labels of at least 1, such as --budgets 10 100.")
    model, settings, train, test, out = _prepare(config)
    results, *_ = compare_encoder(model.encoder, settings, train, test, budgets=config.budgets)
    if config.fine_tune:
        results["SimCLR, fine-tuned"] = fine_tuned_row(model.encoder, train, test, settings, config.budgets)
    print(text_table(results))
    file = out / ("evaluation.json" if config.dataset is None else f"evaluation-{test.name}.json")
    write_results(
        file,
        {
            "what": f"{config.checkpoint} on {test.name}; test accuracy",
            "environment": environment(pick_device(config.device)),
            "num_train": len(train),
            "num_test": len(test),
            "results": results,
        },
    )
    print(f"results: {file}")


def fine_tuned_row(
    encoder: nn.Module, train: ImageDataset, test: ImageDataset, settings: TrainConfig, budgets: Sequence[int]
) -> dict[str, dict]:
    """Test accuracy of the whole network, trained on from ``encoder`` at every budget of labels."""
    parts = {**few_label_parts(train, budgets, settings.seed), "labels_all": train}
    crop_scale = settings.crop_min, settings.crop_max  # as in pretraining

    def fine_tuned(part: ImageDataset) -> float:
        return fine_tune(encoder, part, test, seed=settings.seed, precision=settings.precision, crop_scale=crop_scale)[
            1
        ]

    return {column: summary([fine_tuned(part)]) for column, part in parts.items()}


def embed(config: EmbedConfig) -> None:
    """Run ``simclr embed``: writes an explorer of the test images' features, a picture, and the features themselves."""
    # Only here: training must not wait for matplotlib.
    from simclr_lib.teaching.explorer import html_page, kinds_of_features, make_scene
    from simclr_lib.teaching.plots import plot_embeddings
    from simclr_lib.teaching.report import png_bytes

    model, settings, _, test, out = _prepare(config)
    features = extract_features(model.encoder, test, precision=settings.precision)
    print(f"projecting {len(features):,} features of {features.shape[1]} numbers by {config.method} …")
    points = project(features, config.method, config.seed)
    trust = trustworthiness(features, points)
    title = f"{config.method}, trustworthiness {trust:.2f}"
    figure = plot_embeddings({title: points}, test.labels, test.classes)
    write_atomically(out / "embedding.png", png_bytes(figure))
    state = {"h": features, "points": points, "labels": test.labels, "classes": test.classes}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(out / "embedding.pt", buffer.getvalue())
    print(f"picture: {out / 'embedding.png'} (trustworthiness {trust:.2f}); tensors: {out / 'embedding.pt'}")
    run_dir = config.checkpoint if config.checkpoint.is_dir() else config.checkpoint.parent
    filmed = evenly(test, FILMED)
    frames = read_film(run_dir, filmed)
    shown = filmed if frames else evenly(test, EXPLORED)
    kinds = kinds_of_features(model, settings, shown)
    print(f"projecting {', '.join(kinds)} of {len(shown):,} images …")
    film = None
    if frames:
        last = list(frames)[-1]
        if not torch.allclose(frames[last], kinds["SimCLR h"], rtol=0.05, atol=0.05):
            last = "now"  # the checkpoint is from after the last look
        film = make_film("SimCLR h", {**frames, last: kinds["SimCLR h"]}, method=config.method)
    pictures = {"SimCLR h": points} if len(shown) == len(test) else None  # projected already
    scene = make_scene(shown, kinds, pictures, config.method, film, title=test.name)
    write_atomically(out / "explorer.html", html_page(scene).encode())
    print(f"explorer: {out / 'explorer.html'}, to open in a browser")
