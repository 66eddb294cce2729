"""Trained models, from a run's checkpoint or from the weights that come with the package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from simclr_lib.choices import OWN
from simclr_lib.config import TrainConfig
from simclr_lib.device import ModuleT, pick_device, place
from simclr_lib.errors import SimCLRError
from simclr_lib.files import OUTPUT_HEAD
from simclr_lib.models import Classifier, OutputHead, SimCLR
from simclr_lib.seeding import initial_weights
from simclr_lib.training.checkpoint import load_checkpoint

WEIGHTS = Path(__file__).parent / "weights"


def load_pretrained(source: str | Path, device: str = "auto", encoder: nn.Module | None = None) -> SimCLR:
    """A pretrained encoder and projection head, in evaluation mode.

    Args:
        source: the name of weights that come with the package: "emblems-resnet18" (`simclr train --preset emblems`, in
            half precision) or "cifar10-resnet18" (500 epochs on a GPU, in 8 bits; the model card cifar10-resnet18.md
            beside the weights says what they are good for); or a run's folder, or its checkpoint.pt.
        device: cpu, cuda or cuda:N; auto is the GPU if there is one.
        encoder: for a run of `pretrain` with an encoder of your own, a module of the same class and shapes. It stays
            as it was: a copy of it takes the weights.

    Raises:
        SimCLRError: there are no such weights, they are damaged, or the run needs its encoder.
    """
    return load_run(find_run(source), pick_device(device), encoder)[0]


def load_run(path: Path, device: torch.device, encoder: nn.Module | None = None) -> tuple[SimCLR, TrainConfig]:
    """The pretrained model of a checkpoint, in evaluation mode, with the settings it was trained with.

    Args:
        path: a run's folder, or its checkpoint.pt.
        device: the device that the model is placed on.
        encoder: as for `load_pretrained`.

    Raises:
        SimCLRError: there is no such checkpoint, it is damaged, it is not one of a SimCLR run, or it needs its encoder.
    """
    run = read_run(path)
    if not run.config.contrastive:
        raise SimCLRError(f"{path} was trained with labels: give the checkpoint of a SimCLR run.")
    return run.simclr(device, encoder), run.config


def load_encoder(path: Path, device: torch.device, encoder: nn.Module | None = None) -> tuple[nn.Module, TrainConfig]:
    """The encoder of a checkpoint, in evaluation mode, with the settings it was trained with.

    Args:
        path: the folder of a run, with SimCLR or with labels, or its checkpoint.pt.
        device: the device that the encoder is placed on.
        encoder: as for `load_pretrained`.

    Raises:
        SimCLRError: there is no such checkpoint, it is damaged, it is not one of a run, or it needs its encoder.
    """
    run = read_run(path)
    return run.encoder(device, encoder), run.config


def load_classifier(
    path: Path, device: torch.device, encoder: nn.Module | None = None
) -> tuple[Classifier, TrainConfig, list[str]]:
    """The classifier of a run, in evaluation mode, with the settings of its training and its classes.

    Args:
        path: the folder of a run, or its checkpoint.pt. A run with labels has its output head in the checkpoint; beside
            that of a SimCLR run lies output_head.pt, the head that was trained on the frozen features.
        device: the device that the classifier is placed on.
        encoder: as for `load_pretrained`.

    Returns:
        (classifier: images float [N, 3, H, W] → logits [N, C], settings, names of the C classes).

    Raises:
        SimCLRError: there is no such checkpoint, it is damaged, the run has no output head, or it needs its encoder.
    """
    run = read_run(path)
    classifier, classes = run.classifier(device, encoder)
    return classifier, run.config, classes


class StoredRun(NamedTuple):
    """The contents of a run's checkpoint, without the optimiser.

    Attributes:
        path: the run's folder, or its checkpoint.pt.
        config: its resolved settings.
        facts: what the run was trained on, such as its "image_size" and "classes".
        weights: those of the model, by name.
    """

    path: Path
    config: TrainConfig
    facts: dict[str, Any]
    weights: dict[str, Tensor]

    @property
    def image_size(self) -> int:
        """Side of the images that the run was trained on, in pixels."""
        return int(self.facts.get("image_size", 32))

    def simclr(self, device: torch.device, own: nn.Module | None = None) -> SimCLR:
        """Make the pretrained model of a SimCLR run, in evaluation mode; ``own`` is as for `load_pretrained`."""
        with _damage_named(self.path):
            model = self.filled(lambda: self.config.simclr(self.image_size, self.own(own)), self.weights)
        return place(model, device).eval()

    def encoder(self, device: torch.device, own: nn.Module | None = None) -> nn.Module:
        """Make the encoder of any run, in evaluation mode; ``own`` is as for `load_pretrained`."""
        with _damage_named(self.path):
            make = partial(self.config.encoder, self.image_size, self.own(own))
            encoder = self.filled(make, below("encoder", self.weights))
        return place(encoder, device).eval()

    def classifier(self, device: torch.device, own: nn.Module | None = None) -> tuple[Classifier, list[str]]:
        """Make the classifier of a run, in evaluation mode, see `load_classifier`.

        Returns:
            (classifier, its classes).
        """
        file = self.path
        if self.config.contrastive:
            file = (file if os.path.isdir(file) else file.parent) / OUTPUT_HEAD
            if not os.path.isfile(file):
                raise SimCLRError(
                    f"there is no output head at {file}, since the run had no labels to train one with: "
                    "give `labels` of some images, or train on images with labels."
                )
            stored = load_checkpoint(file)
        else:
            stored = {"head": below("head", self.weights), "classes": self.facts.get("classes")}
        encoder = self.encoder(device, own)
        with _damage_named(file):
            weights, classes = stored["head"], [str(name) for name in stored["classes"]]
            with torch.device("meta"):
                head = OutputHead(weights["weight"].shape[1], len(classes))
            head.load_state_dict(weights, assign=True)
            classifier = place(Classifier(encoder, head.float()), device).eval()
            with torch.no_grad():  # the head fits the encoder
                classifier(torch.zeros(1, 3, self.image_size, self.image_size, device=device))
        return classifier, classes

    def own(self, encoder: nn.Module | None) -> nn.Module | None:
        """The module that the user gave for the run's encoder.

        Raises:
            SimCLRError: the run needs one and there is none, or the other way round.
        """
        kind = str(self.config.base_model).removeprefix(OWN)
        if self.config.has_own_encoder and encoder is None:
            raise SimCLRError(
                f"the encoder of this run was given as a module, a {kind}: give one again, in Python (encoder=…)."
            )
        if not self.config.has_own_encoder and encoder is not None:
            raise SimCLRError(f"this run has the encoder {self.config.network}: leave out your own (encoder=…).")
        return encoder

    def filled(self, make: Callable[[], ModuleT], weights: Mapping[str, Tensor]) -> ModuleT:
        """A network of the run, in float32, with these weights."""
        is_resnet = isinstance(self.config.base_model, int)
        # A ResNet takes no memory before the names and shapes of the weights are known to fit. Other networks may have
        # buffers that are not stored.
        with torch.device("meta") if is_resnet else initial_weights(self.config.seed):
            network = make()
        network.load_state_dict(weights, assign=is_resnet)
        return network.float()


def read_run(path: Path) -> StoredRun:
    """Read a run's checkpoint; the stem stays, whatever size of images the model is used on.

    Raises:
        SimCLRError: there is no such checkpoint, it is damaged, or it is not one of a run.
    """
    state = load_checkpoint(path)
    if not {"config", "model", "facts"} <= state.keys():
        raise SimCLRError(f"{path} is not the checkpoint of a run: give the run's folder or its checkpoint.pt.")
    with _damage_named(path):
        config = TrainConfig.from_dict(state["config"])
        stored = StoredRun(Path(path), config, dict(state["facts"]), _weights(state))
        config = config.resolved(stored.image_size)
        # Early versions stored `contrastive` as it was given, and the function that trained may have done the other.
        task = stored.facts.get("task", "pretrain" if config.contrastive else "supervised")
        return stored._replace(config=replace(config, contrastive=task == "pretrain"))


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint by name; those in 8 bits are whole numbers to be multiplied by their scales."""
    scales = state.get("scales", {})
    return {name: value * scales[name] if name in scales else value for name, value in dict(state["model"]).items()}


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what happens within into an error of one line: contents of a wrong kind can make any part stumble."""
    try:
        yield
    except SimCLRError:
        raise
    except Exception as error:
        raise SimCLRError(
            f"the weights in {path} do not fit its settings: it is damaged, or of another version. Use another copy."
        ) from error


def find_run(source: str | Path) -> Path:
    """The file of weights that come with the package, by their name; or the path of a run."""
    bundled = {file.stem: file for file in WEIGHTS.glob("*.pt")}
    return bundled.get(str(source)) or Path(source).expanduser()


def below(part: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a part of the model, such as its "encoder", by the names that they have within it."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
