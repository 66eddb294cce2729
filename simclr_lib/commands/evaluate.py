"""``simclr evaluate`` and ``simclr embed``: the worth of a checkpoint's features, and pictures of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simclr_lib.commands.common import check_writable
from simclr_lib.commands.settings import CheckpointConfig, EmbedConfig, EvaluateConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import pick_device
from simclr_lib.errors import shown
from simclr_lib.evaluation import extract_features, make_film, project, trustworthiness
from simclr_lib.experiments.comparison import FILMED, compare_encoder, evenly, few_label_parts, fine_tuned_row
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.results import Result, text_table
from simclr_lib.training import load_run, read_film

EXPLORED = 5_000  # images in an explorer without a film: its file stays below 15 MB


@dataclass(frozen=True)
class Loaded:
    """A checkpoint, and what a command needs besides it.

    Attributes:
        model: the trained model.
        settings: the settings that it was trained with, but for device and precision, which suit this machine, and
            for the data set, which is that of the command.
        run_dir: the folder of the checkpoint.
        out: the folder for results; it can be written to.
    """

    model: SimCLR
    settings: TrainConfig
    run_dir: Path
    out: Path

    def images(self, split: str, limit: int | None) -> ImageDataset:
        """Load a part of the images, at the size that the model was trained on."""
        config = self.settings
        where, size, reading = config.data_dir, config.image_size, config.reading()
        return load_dataset(config.dataset, split, where, False, limit, size, config.labels, reading)


def _load(config: CheckpointConfig) -> Loaded:
    config.check()
    model, settings = load_run(config.checkpoint, pick_device(config.device))
    run_dir = config.checkpoint if config.checkpoint.is_dir() else config.checkpoint.parent
    out = config.out or run_dir
    check_writable(out)
    settings = replace(
        settings,
        dataset=config.dataset or settings.dataset,
        data_dir=config.data_dir or settings.data_dir,
        images=config.images,
        labels=config.labels or (None if config.images or config.dataset else settings.labels),  # of those images
        device=config.device,
        precision="auto",
    )
    return Loaded(model, settings, run_dir, out)


def evaluate(config: EvaluateConfig) -> None:
    """Run ``simclr evaluate``: writes evaluation.json and prints the table of kNN, linear probe and few labels."""
    run = _load(config)
    encoder = run.model.encoder
    train, test = (run.images(split, config.limit).labelled for split in ("train", "test"))
    table, *_ = compare_encoder(encoder, run.settings, train, test, budgets=config.budgets)
    if config.fine_tune:
        parts = {**few_label_parts(train, config.budgets, run.settings.seed), "labels_all": train}
        table["SimCLR, fine-tuned"] = fine_tuned_row(encoder, parts, test, run.settings)
    file = run.out / ("evaluation.json" if config.dataset is config.images is None else f"evaluation-{test.name}.json")
    what = f"{config.checkpoint} on {test.name}; test accuracy"
    Result(what, table, num_train=len(train), num_test=len(test)).write(file, pick_device(config.device))
    print(text_table(table))
    print(f"results: {file}")


def embed(config: EmbedConfig) -> None:
    """Run ``simclr embed``: writes the features of the test images, or of all in a folder, and draws them."""
    # Imported here, so that the other commands do not wait for matplotlib.
    from simclr_lib.teaching.explorer import html_page, kinds_of_features, make_scene
    from simclr_lib.teaching.plots import plot_embeddings
    from simclr_lib.teaching.report import png_bytes

    run = _load(config)
    own, out = run.settings.dataset == "imagefolder", run.out
    test = run.images("all" if own else "test", config.limit)
    features = extract_features(run.model.encoder, test, precision=run.settings.precision)
    device = next(run.model.parameters()).device
    with torch.no_grad():
        z = torch.cat([run.model.projector(part.to(device)).cpu() for part in features.split(4096)])
    arrays = {"files": np.array(_names(test)), "labels": test.labels.numpy(), "h": features.numpy(), "z": z.numpy()}
    _write_arrays(out / "embeddings.npz", arrays)
    print(f"projecting {len(features):,} features of {features.shape[1]} numbers by {config.method} …")
    points = project(features, config.method, config.seed)
    _write_arrays(out / "embeddings.npz", {**arrays, "xy": points.numpy()})
    _write_table(out / "embeddings.csv", test, points)
    print(f"features: {out / 'embeddings.npz'}\ntable: {out / 'embeddings.csv'}")

    trust = trustworthiness(features, points)
    title = f"{config.method}, trustworthiness {trust:.2f}"
    figure = plot_embeddings({title: points}, test.labels, test.classes)
    write_atomically(out / "embedding.png", png_bytes(figure))
    print(f"picture: {out / 'embedding.png'} (trustworthiness {trust:.2f})")

    filmed = evenly(test, FILMED)
    frames = read_film(run.run_dir, filmed)
    shown = filmed if frames else evenly(test, EXPLORED)
    kinds = kinds_of_features(run.model, run.settings, shown)
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


def _names(images: ImageDataset) -> list[str]:
    """The files of the images, or their numbers where they are not from files."""
    return [shown(name) for name in images.files or map(str, range(len(images)))]


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def _write_table(path: Path, images: ImageDataset, points: Tensor) -> None:
    """Write a line "file,label,x,y" for each image; the label is empty where there is none."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", "label", "x", "y"])
    for name, label, (x, y) in zip(_names(images), images.labels.tolist(), points.tolist(), strict=True):
        table.writerow([name, images.classes[label] if label >= 0 else "", f"{x:.4f}", f"{y:.4f}"])
    write_atomically(path, shown(text.getvalue()).encode())
