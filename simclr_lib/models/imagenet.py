"""Encoders with weights that were trained on ImageNet, for images in 0…1.

Other libraries normalise images first: (x − mean) / std. This package does not, so mean and std are folded into the
first convolution. What it computes stays the same but at the border: there, padding with zeros now stands for black
pixels, and before for pixels of the mean colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from simclr_lib.errors import SimCLRError, type_name
from simclr_lib.models.encoders import evaluating, timm_encoder
from simclr_lib.models.resnet import resnet18, resnet34, resnet50

RESNETS = {18: resnet18, 34: resnet34, 50: resnet50}


def imagenet_resnet(depth: int) -> nn.Module:
    """A ResNet of the original stem and width with torchvision's best weights, for images in 0…1.

    Args:
        depth: 18, 34 or 50.

    Raises:
        SimCLRError: the weights cannot be downloaded.
    """
    name = f"resnet{depth}"
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # urllib, the disk and the check of the hash have errors of many kinds
        raise _not_downloaded(name, error) from error
    encoder = RESNETS[depth]("imagenet", 64)
    encoder.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
    transforms = weights.transforms()
    fold_normalisation(encoder, encoder.conv1, transforms.mean, transforms.std)
    return encoder


def imagenet_timm(name: str, size: int) -> nn.Module:
    """A network of timm with timm's pretrained weights, for images in 0…1, see `timm_encoder`.

    Raises:
        SimCLRError: timm is missing or has no such weights, they cannot be downloaded, or the first layer is not one
            that mean and std can be folded into.
    """
    timm_encoder(name, size)  # its errors are not those of a download
    try:
        encoder = timm_encoder(name, size, pretrained=True)
    except Exception as error:  # those of huggingface_hub, urllib and timm
        raise _not_downloaded(name, error) from error
    facts: dict = encoder.pretrained_cfg  # type: ignore[assignment]
    first = facts.get("first_conv")
    convolution = encoder.get_submodule(first) if isinstance(first, str) else None
    fold_normalisation(encoder, convolution, facts["mean"], facts["std"], size)
    return encoder


def _not_downloaded(name: str, error: Exception) -> SimCLRError:
    reason = " ".join(str(error).split())
    return SimCLRError(
        f"the ImageNet weights of {name} could not be had ({type_name(error)}: {reason:.100}): connect this machine to "
        "the network for the first run, or leave out init."
    )


@torch.no_grad()
def fold_normalisation(
    encoder: nn.Module, convolution: nn.Module | None, mean: Sequence[float], std: Sequence[float], size: int = 64
) -> None:
    """Change an encoder for images that were normalised, (x − mean) / std, in place into one for images that were not.

    The scale enters the first convolution's weights. The shift enters its bias; where it has none, the running mean of
    the batch norm that follows (in training, batch norm takes any shift away).

    Args:
        encoder: images float [N, 3, H, W] → features.
        convolution: its first layer.
        mean: that of each channel, [3].
        std: that of each channel, [3].
        size: side of images that the encoder takes, in pixels.

    Raises:
        SimCLRError: the first layer is another one than a convolution with a bias or with a batch norm behind it.
    """
    norm = _follower(encoder, convolution, size)
    plain = isinstance(convolution, nn.Conv2d) and type(convolution).__name__ in ("Conv2d", "Conv2dSame")
    statistics = norm.running_mean if isinstance(norm, nn.BatchNorm2d) else None
    if not isinstance(convolution, nn.Conv2d) or not plain or (convolution.bias is None and statistics is None):
        raise SimCLRError(
            f"the mean and std of {type(encoder).__name__}'s images cannot be folded into its first layer: choose "
            "another base_model, or leave out init."
        )
    weight = convolution.weight
    weight /= torch.tensor(std).view(1, 3, 1, 1)
    shift: Tensor = -(weight * torch.tensor(mean).view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    if convolution.bias is not None:
        convolution.bias += shift
    elif statistics is not None:
        statistics -= shift


def _follower(encoder: nn.Module, layer: nn.Module | None, size: int) -> nn.Module | None:
    """The layer that a layer's output enters, found by a forward pass of a black image."""
    outputs: list[Tensor] = []
    followers: list[nn.Module] = []

    def before(module: nn.Module, inputs: tuple) -> None:
        if outputs and inputs and inputs[0] is outputs[0]:
            followers.append(module)

    handles = [module.register_forward_pre_hook(before) for module in encoder.modules()]
    if layer is not None:
        handles.append(layer.register_forward_hook(lambda _, __, output: outputs.append(output)))
    with evaluating(encoder):
        encoder(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return followers[0] if followers else None
