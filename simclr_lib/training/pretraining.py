"""SimCLR pretraining (arXiv 2002.05709, algorithm 1). Labels are used to watch it, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, split_indices
from simclr_lib.device import pick_device, place
from simclr_lib.distributed import distribute_and_compile
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import extract_features, knn_accuracy
from simclr_lib.loop import fit
from simclr_lib.models import SimCLR
from simclr_lib.seeding import initial_weights, seeded
from simclr_lib.training.initial import start_from
from simclr_lib.training.run import Run, dataset_identity, opened
from simclr_lib.training.run_folder import RunFolder

MONITOR_BANK = 1_000  # at most this many training images vote in the kNN monitor
MONITOR_QUERIES = 500


def pretrain(
    dataset: ImageDataset,
    config: TrainConfig,
    run_dir: Path | None = None,
    labelled: ImageDataset | None = None,
    watch: Callable[[list[dict[str, float]]], None] | None = None,
    filmed: ImageDataset | None = None,
    encoder: nn.Module | None = None,
) -> SimCLR:
    """Pretrain an encoder and a projection head.

    Args:
        dataset: training images. A share ``config.validation`` of them is kept out, and the kNN accuracy on it is
            logged during training; labels are used for nothing else.
        config: settings. ``contrastive`` is not used, and those of reading files have to fit ``dataset``.
        run_dir: folder for metrics and checkpoint. None takes ``config.run_dir``; if that is None, too, nothing is
            written.
        labelled: images to measure the kNN accuracy on instead of those of ``dataset``; they are not trained on.
        watch: called after every measurement with the run's metrics so far (`read_metrics`); needs a run folder.
        filmed: images whose features h are kept in the run's folder, before training and at every measurement, see
            `read_film`; they are not trained on. Needs a run folder.
        encoder: a network of your own, images float [N, 3, H, W] in 0…1 → features [N, D]. A copy of it is trained,
            from the weights that it has, in place of the one that ``base_model`` names; it stays as it was. To resume
            such a run, or to load it (`load_pretrained`), give a module of the same class again.

    Returns:
        The trained model, in evaluation mode, on the configured device.

    Raises:
        SimCLRError: a setting makes no sense, the encoder does not return features [N, D], or the folder holds another
            run.
        DivergedError: the loss was not finite.
        Interrupted: Ctrl-C, after everything was saved.
    """
    with opened("pretrain", dataset, config, run_dir, encoder) as (config, device, folder):
        _check_folder(folder, watch=watch, filmed=filmed)
        with initial_weights(config.seed):
            model = config.simclr(dataset.image_size, encoder)
        if config.init and not config.resume:
            start_from(config.init, model, config, dataset.classes)
        model = place(model, device)
        rows = training_rows(dataset, config, labelled)
        monitor = _monitor(model, dataset.labelled if labelled is None else labelled, config)
        run = None
        if folder:
            film = None if filmed is None else _film(model, filmed, config)
            run = Run(folder, config, dataset_identity("pretrain", dataset), monitor, watch, film)
        network = distribute_and_compile(model, config.compile)
        # The rows are looked up batch by batch, so that a memory-mapped data set stays on the disk.
        objective = config.objective(network, dataset.images.to(device))
        with run or nullcontext():
            fit(
                model,
                lambda batch, generator: objective(rows[batch], generator),
                len(rows),
                config.loop(),
                run,
                "pretraining",
            )
    return model.eval()


def _check_folder(folder: RunFolder | None, **needing_one: object) -> None:
    """Raise `SimCLRError` if an argument is there that works on a run's folder, and there is none."""
    for name, value in needing_one.items():
        if folder is None and value is not None:
            raise SimCLRError(f"{name} needs run_dir: it works on what a run keeps there.")


def untrained_knn(dataset: ImageDataset, config: TrainConfig) -> float:
    """The kNN accuracy that `pretrain` would log before the first step: what every later one has to be compared with.

    Args:
        dataset: the images for `pretrain`.
        config: its settings; some images have to be kept out (``validation``).

    Raises:
        SimCLRError: no images with labels are kept out.
    """
    with initial_weights(config.seed):
        model = place(config.simclr(dataset.image_size), pick_device(config.device))
    monitor = _monitor(model, dataset.labelled, config)
    if monitor is None:
        raise SimCLRError("no images with labels are kept out: set validation to a share such as 0.1.")
    return monitor()["validation_knn"]


def training_rows(dataset: ImageDataset, config: TrainConfig, labelled: ImageDataset | None = None) -> Tensor:
    """Return the rows of ``dataset`` that `pretrain` trains on, int64 [n]. The arguments are those of `pretrain`."""
    held_out = torch.tensor([], dtype=torch.int64)
    if labelled is None and config.validation and has_classes(dataset.labelled):
        _, queries = split_indices(dataset.labelled.labels, config.validation, config.seed)
        held_out = (dataset.labels >= 0).nonzero().flatten().cpu()[queries]
    rows = torch.arange(len(dataset))
    return rows[~torch.isin(rows, held_out)]


def _monitor(model: SimCLR, watched: ImageDataset, config: TrainConfig) -> Callable[[], dict[str, float]] | None:
    """Return what measures the kNN accuracy on the share of the watched images that is not trained on."""
    if not config.validation or not has_classes(watched):
        return None
    bank_rows, query_rows = split_indices(watched.labels, config.validation, config.seed)
    if not len(query_rows):
        return None
    generator = seeded(config.seed, "monitor")

    def draw(candidates: Tensor, at_most: int) -> ImageDataset:
        return watched.subset(candidates[torch.randperm(len(candidates), generator=generator)[:at_most]])

    bank, queries = draw(bank_rows, MONITOR_BANK), draw(query_rows, MONITOR_QUERIES)

    def features(part: ImageDataset) -> Tensor:
        return extract_features(model.encoder, part, precision=config.precision, progress=False)

    return lambda: {"validation_knn": knn_accuracy(features(bank), bank.labels, features(queries), queries.labels)}


def has_classes(dataset: ImageDataset) -> bool:
    """Return whether all images have labels, and of at least two classes, so that accuracies can be measured."""
    return len(dataset) > 0 and len(dataset.labels.unique()) > 1 and bool(dataset.labels.min() >= 0)


def _film(model: SimCLR, filmed: ImageDataset, config: TrainConfig) -> Callable[[], dict[str, object]]:
    """Return a function that takes the features of the filmed images as they are now, in half precision."""
    fingerprint = filmed.fingerprint()

    def frame() -> dict[str, object]:
        h = extract_features(model.encoder, filmed, precision=config.precision, progress=False)
        return {"images": fingerprint, "h": h.half()}

    return frame
