"""The weights that training starts from: those of another run, or of a network that was trained on ImageNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from simclr_lib.choices import IMAGENET, TIMM
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.models.imagenet import imagenet_resnet, imagenet_timm
from simclr_lib.training.pretrained import below, find_run, read_run


def start_from(init: str, model: SimCLR | Classifier, config: TrainConfig, classes: Sequence[str]) -> None:
    """Give a new model the weights of another one, in place.

    Args:
        init: "imagenet"; or a run's folder, its checkpoint.pt, or the name of weights that come with the package. The
            run may be one of SimCLR or one with labels.
        model: it takes the other one's encoder. It takes the projection head, too, where all shapes fit, and the output
            head where the classes are the same.
        config: the resolved settings of the model.
        classes: names of the model's classes.

    Raises:
        SimCLRError: there is no such run, its encoder does not fit, or weights cannot be downloaded.
    """
    if init == IMAGENET:
        model.encoder.load_state_dict(_imagenet(config).state_dict())
        return
    run = read_run(find_run(init))
    weights = below("encoder", run.weights)
    difference = _difference(weights, model.encoder)
    if difference:
        raise SimCLRError(
            f"the encoder of {init} ({run.config.network}) does not fit this one ({config.network}), {difference}: "
            "choose the base_model, width and stem of that run (and its view_size, for a vision transformer)."
        )
    model.encoder.load_state_dict(weights)
    name, head = ("projector", model.projector) if isinstance(model, SimCLR) else ("head", model.head)
    same_classes = run.facts.get("classes") == list(classes)
    if not _difference(below(name, run.weights), head) and (name == "projector" or same_classes):
        head.load_state_dict(below(name, run.weights))


def _imagenet(config: TrainConfig) -> nn.Module:
    """The encoder of these settings with ImageNet's weights."""
    if isinstance(config.base_model, int):
        return imagenet_resnet(config.base_model)
    assert config.view_size
    return imagenet_timm(config.base_model.removeprefix(TIMM), config.view_size)


def _difference(weights: Mapping[str, Tensor], module: nn.Module) -> str:
    """The first weight that the module lacks, or has more, or has in another shape; "" where all fit."""
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*own, *given]:
        if own.get(name) != given.get(name):
            return f"whose {name} is {_shape(own.get(name))} and not {_shape(given.get(name))}"
    return ""


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "×".join(map(str, shape)) or "a number"
