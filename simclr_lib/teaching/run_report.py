"""The report of any run, ``simclr report``: what it was trained on, how it learned, and what its features show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.choices import ProjectionMethod
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError, counted
from simclr_lib.evaluation import (
    Film,
    extract_features,
    knn_predict,
    make_film,
    pixel_features,
    project,
    trustworthiness,
)
from simclr_lib.files import content_of
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.results import Result, columns, in_words
from simclr_lib.teaching.explorer import kinds_of_features, make_scene
from simclr_lib.teaching.page import About
from simclr_lib.teaching.pictures import (
    picture_of_confusion,
    picture_of_embeddings,
    picture_of_neighbors,
    picture_of_training,
    picture_of_views,
    section_of_explorer,
)
from simclr_lib.teaching.report import Picture, Report, Section, accuracy_table, comparison, facts_of
from simclr_lib.training import StoredRun, read_film, read_metrics, untrained_knn

QUERIES = 6  # images whose neighbours and views are shown


@dataclass(frozen=True)
class Trained:
    """A finished or stopped run, and the images to show its features with.

    Attributes:
        model: the network in evaluation mode: a `SimCLR`, or a `Classifier` that was trained with labels.
        stored: what its checkpoint says of the training.
        config: the same settings, with the device and the images of now.
        run_dir: its folder, with metrics and perhaps a film.
        train: the training part of the images of now, which may be others than the run was trained on.
        shown: the images whose features are drawn; none of them was trained on where there is a test part.
        result: the content of its results.json; None where the run has not ended.
    """

    model: SimCLR | Classifier
    stored: StoredRun
    config: TrainConfig
    run_dir: Path
    train: ImageDataset
    shown: ImageDataset
    result: Result | None

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """The records of its log."""
        return read_metrics(self.run_dir)

    @cached_property
    def losses(self) -> list[float]:
        """The loss of every step."""
        return [record["loss"] for record in self.metrics if "loss" in record]


def _read_machine(run_dir: Path) -> dict[str, str]:
    """Read the machine, the versions and the command of a run from its config.json; {} where there is none."""
    file = run_dir / "config.json"
    try:
        return facts_of(json.loads(content_of(file)).get("environment", {})) if file.exists() else {}
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # not JSON, or other JSON than a run writes
        raise SimCLRError(f"{file} is damaged: delete it, and the report does without the machine.") from error


def film_of_run(frames: Mapping[str, Tensor], h: Tensor, method: ProjectionMethod = "umap") -> Film | None:
    """Project the features that a run filmed, if it did.

    Args:
        frames: "epoch 3" → float32 [N, D], as `read_film` returns them.
        h: float [N, D], the features of the same images by the run's checkpoint.
        method: as in `project`.
    """
    if not frames or len(h) < 4:  # so few points cannot be projected
        return None
    last = list(frames)[-1]
    if not torch.allclose(frames[last], h, rtol=0.05, atol=0.05):
        last = "now"  # the checkpoint is from after the last look
    return make_film("SimCLR h", {**frames, last: h}, method=method)


def report_of_run(run: Trained) -> Report:
    """Make the report of a run.

    Raises:
        SimCLRError: the config.json of the run is damaged.
    """
    machine = _read_machine(run.run_dir)
    kinds = kinds_of_features(run.model, run.config, run.shown)
    name, h = next(iter(kinds.items()))  # the features of the run come first
    film = film_of_run(read_film(run.run_dir, run.shown), h)
    if film is None and len(h) > 3:
        film = Film(name, ["now"], project(h)[None])
    points = film.points[-1] if film else None
    moves = film if film and len(film.captions) > 1 else None
    scene = make_scene(run.shown, kinds, {name: points} if points is not None else None, film=moves)
    images = f"{counted(len(run.shown), 'image')} of {run.shown.name}"
    sections = [section_of_explorer(scene, images, moves is not None)]
    if run.result and run.result.results:
        table = {source: dict(row) for source, row in run.result.results.items()}
        text = (
            "Test accuracies after the last epoch: linear heads on frozen features, and kNN. “10 per class” means with "
            "10 labels per class."
        )
        html = accuracy_table(table, columns(table))
        sections.append(Section("Accuracy", comparison(table), text, html))
    tiles = _tiles(run)
    pictures = [*_pictures_of_training(run), *_pictures_of_features(run, name, h, points)]
    return Report(
        _about(run, tiles),
        tiles,
        [*sections, *(picture.section for picture in pictures)],
        _facts(run, machine),
        film,
        run.shown,
    )


def _about(run: Trained, tiles: Sequence[tuple[str, str]]) -> About:
    """The heading of the page, and what the run was."""
    images = counted(_num_trained(run), "image")
    size = f"{run.stored.image_size} × {run.stored.image_size} pixels"
    trained = f"a {_network(run.config)} was trained in this way for {_duration(run)} on {images} of {size}."
    if run.config.contrastive:
        title, topic = f"What a neural network learns from {images} without labels", "SimCLR"
        lead = (
            "SimCLR trains a network to recognise which two altered copies were made from the same image. "
            f"Here {trained}"
        )
    else:
        title, topic = f"What a neural network learns from {images} with labels", "Training with labels"
        lead = f"A network is shown images together with their classes until it predicts them. Here {trained}"
    summary = ", ".join(f"{number} {label}" for number, label in tiles)
    return About(title, f"{topic} on {_trained_on(run.stored.config)}", lead, summary)


def _trained_on(config: TrainConfig) -> str:
    """The name of the images that a run was trained on."""
    return Path(config.data_dir or "data").resolve().name if config.dataset == "imagefolder" else config.dataset


def _num_trained(run: Trained) -> int:
    return int(run.stored.facts.get("num_images", len(run.train)))


def _duration(run: Trained) -> str:
    """Say for how many epochs a run was trained; one that has not ended has had fewer than it asked for."""
    planned = counted(run.config.epochs, "epoch")
    return planned if _has_ended(run) else f"{_epochs_trained(run):.1f} of {planned}"


def _has_ended(run: Trained) -> bool:
    """Return whether a run took all of its steps, as far as is known."""
    return run.result is not None or not run.losses or _epochs_trained(run) > run.config.epochs - 1e-6


def _epochs_trained(run: Trained) -> float:
    """Return how many epochs had passed after the last step of a run that has metrics."""
    last = next(record for record in reversed(run.metrics) if "loss" in record)
    return last["epoch"] * (1 + 1 / last["step"]) if last["step"] else 0.0  # the record has those before the step


def _network(config: TrainConfig) -> str:
    if isinstance(config.base_model, str):
        return config.base_model.removeprefix("timm:")
    return f"ResNet-{config.base_model} of width {config.width}"


def _tiles(run: Trained) -> list[tuple[str, str]]:
    """The headline numbers: accuracies where they were measured, and otherwise how far the loss fell."""
    row = next(iter(run.result.results.values()), {}) if run.result else {}
    labels = {"labels_all": "accuracy with all labels", "knn": "accuracy of kNN on the features"}
    tiles = [(in_words(row[column]), label) for column, label in labels.items() if column in row]
    if run.losses:
        tiles.append((f"{run.losses[0]:.2f} → {run.losses[-1]:.2f}", "loss, first and last step"))
    return [*tiles, (f"{_num_trained(run):,}", "training images")]


def _pictures_of_training(run: Trained) -> list[Picture]:
    config = run.config
    views = run.train.subset(torch.linspace(0, len(run.train) - 1, min(len(run.train), QUERIES)).long()).images
    num_views = 2 * config.batch_size if config.contrastive else None
    pictures = [picture_of_views(views, config.augment(run.train.image_size), num_views)]
    if run.losses:
        pictures.append(picture_of_training(run.metrics, num_views and num_views - 2, _untrained(run)))
    return pictures


def _untrained(run: Trained) -> float | None:
    """The kNN accuracy before training; None where the run did not measure it later, or where it is not known now."""
    measured = any("validation_knn" in record for record in run.metrics)
    same_images = run.stored.facts.get("images") == run.train.fingerprint()
    if not measured or not same_images or run.config.has_own_encoder or run.config.init:
        return None
    return untrained_knn(run.train, run.config)


def _pictures_of_features(run: Trained, name: str, h: Tensor, points: Tensor | None) -> list[Picture]:
    """The features of the shown images in two dimensions, their neighbours, and the classes that they are taken for."""
    shown, train = run.shown, run.train
    pictures = []
    if points is not None:
        trust = {name: trustworthiness(h, points)}
        pictures.append(picture_of_embeddings({name: points}, trust, shown, "The features in two dimensions"))
    asked = torch.linspace(0, len(shown) - 1, min(len(shown), QUERIES)).long()
    queries = shown.subset(asked)
    others = ~_contains(train, queries)
    if others.any():
        bank = train.subset(others.nonzero().flatten())
        h_bank = extract_features(run.model.encoder, bank)
        features = {name: (h[asked], h_bank), "pixels": (pixel_features(queries), pixel_features(bank))}
        pictures.append(picture_of_neighbors(queries, bank, features))
        labelled = (bank.labels >= 0).nonzero().flatten()
        tested = shown.labelled
        if run.config.contrastive and len(tested) and len(bank.labels[labelled].unique()) > 1 and tested is shown:
            predicted = knn_predict(h_bank[labelled], bank.labels[labelled], h)
            pictures.append(picture_of_confusion(shown.labels, predicted, shown.classes, "kNN"))
    if isinstance(run.model, Classifier):
        predicted = extract_features(run.model, shown).argmax(dim=1)
        pictures.append(picture_of_confusion(shown.labels, predicted, shown.classes, "the network"))
    return pictures


def _contains(dataset: ImageDataset, some: ImageDataset) -> Tensor:
    """Return which images of a data set are among ``some`` images, bool [N], by the names of their files."""
    names = set(some.files or ())
    return torch.tensor([file in names for file in dataset.files or [""] * len(dataset)])


def _facts(run: Trained, machine: Mapping[str, str]) -> dict[str, str]:
    settings = run.stored.config.to_dict()
    if run.result:
        time = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in run.result.seconds.items())
    else:
        time = "not recorded" if _has_ended(run) else "the run has not ended"
    return {
        **machine,
        "time": time,
        "settings": ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None),
    }
