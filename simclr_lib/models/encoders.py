"""Encoders of every kind: what a network must do to be one, and those of the timm package.

An encoder is a network that maps images, float [N, 3, H, W] in 0…1, to features h, float [N, D].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn

from simclr_lib.choices import TIMM
from simclr_lib.errors import SimCLRError, nearest, type_name


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each layer back into its own mode afterwards.

    In evaluation mode batch norm uses its running statistics, and does not change them.
    """
    training_layers = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training_layers:
            layer.training = True


@torch.no_grad()
def feature_dim(encoder: nn.Module, image_size: int) -> int:
    """Find the length of an encoder's features by one forward pass of a black image.

    Args:
        encoder: images [N, 3, H, W] → h [N, D]. Its mode and statistics stay as they were.
        image_size: height and width of the image, in pixels.

    Raises:
        SimCLRError: the encoder does not take images of this size, or does not return features [N, D].
    """
    parameter = next(encoder.parameters(), None)
    black = torch.zeros(1, 3, image_size, image_size, device=None if parameter is None else parameter.device)
    try:
        with evaluating(encoder):
            h = encoder(black)
    except (torch.OutOfMemoryError, SimCLRError):
        raise
    except Exception as error:  # networks refuse a size in any way: assertions, kernels that are larger than the image
        reason = " ".join(str(error).split())
        raise SimCLRError(
            f"the encoder takes no images of {image_size} pixels ({type_name(error)}: {reason:.100}): "
            "choose another size (image_size, view_size) or another encoder."
        ) from error
    check_output(h, 1)
    return int(h.shape[1])


def check_output(h: Tensor, count: int) -> None:
    """Raise `SimCLRError` unless the encoder returned features [count, D]."""
    if not isinstance(h, Tensor):
        raise SimCLRError(f"the encoder must return features [N, D], not {type_name(h)}.")
    if h.ndim != 2 or len(h) != count:
        raise SimCLRError(f"the encoder must return features [{count}, D] for {count} images, not {list(h.shape)}.")


def timm_encoder(name: str, size: int, pretrained: bool = False) -> nn.Module:
    """Make an encoder of the timm package, which returns its features after pooling.

    Args:
        name: its name there, such as "convnext_atto".
        size: side of the images that it is trained on, in pixels. Networks that are made for one size, such as vision
            transformers, are made for this one; those that can take other sizes, too, do so.
        pretrained: with timm's weights, which are downloaded. They expect normalised images.

    Raises:
        SimCLRError: timm is missing, or knows no such network.
    """
    return _made(name, size, pretrained)[0]


def timm_call(name: str, size: int) -> str:
    """The call of timm that makes the same encoder as `timm_encoder`, in Python: "create_model('test_vit', …)".

    Raises:
        SimCLRError: timm is missing, or knows no such network.
    """
    _, arguments = _made(name, size, pretrained=False)
    written = ", ".join(f"{key}={value!r}" for key, value in {"num_classes": 0, **arguments}.items())
    return f"create_model({name!r}, {written})"


def _made(name: str, size: int, pretrained: bool) -> tuple[nn.Module, dict[str, object]]:
    """A network of timm, and the arguments about its size that it takes."""
    timm = check_timm(name)
    arguments: list[dict[str, object]] = [{"img_size": size, "dynamic_img_size": True}, {"img_size": size}, {}]
    while True:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments[0]), arguments[0]
        except TypeError as error:  # each network of timm takes arguments of its own
            if "unexpected keyword argument" not in str(error) or len(arguments) == 1:
                raise
            del arguments[0]


def check_timm(name: str) -> ModuleType:
    """Import timm and return it.

    Raises:
        SimCLRError: timm is missing, or knows no network of this name.
    """
    try:
        import timm
    except ImportError as error:
        raise SimCLRError(f"{TIMM}{name} needs the timm package: pip install timm.") from error
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        hint = f"did you mean {near!r}? " if near else ""
        raise SimCLRError(f"timm knows no network {name!r}: {hint}Python's timm.list_models() lists their names.")
    return timm
