"""The check of labels for all of the package, with an error that names what was found."""

from __future__ import annotations

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError, type_name


def check_labels(
    labels: Tensor, name: str, count: int | None = None, num_classes: int | None = None, unlabelled: bool = False
) -> None:
    """Raise `SimCLRError` unless the labels are int64 [count], from 0 to ``num_classes`` − 1.

    Args:
        labels: the argument of the caller.
        name: the argument's name, for the message.
        count: the number of images or features that they belong to, where it is known.
        num_classes: the number of classes, where it is known.
        unlabelled: −1 stands for no label and is allowed.
    """
    if not isinstance(labels, Tensor):
        raise SimCLRError(f"{name} must be a tensor, not {type_name(labels)}: convert it with torch.as_tensor.")
    if labels.dtype != torch.int64 or labels.ndim != 1 or count not in (None, len(labels)):
        raise SimCLRError(f"{name} must be int64 [{'N' if count is None else count}], not {kind(labels)}.")
    if len(labels) == 0:
        return
    lowest, highest = torch.stack(labels.aminmax()).tolist()
    if unlabelled and lowest < -1:
        raise SimCLRError(f"{name} must be 0 or more, or -1 where there is no label, not {lowest}.")
    if not unlabelled and lowest < 0:
        raise SimCLRError(f"{name} must be 0 or more, not {lowest}: leave out what has no label.")
    if num_classes is not None and highest >= num_classes:
        raise SimCLRError(f"{name} must be below the number of classes, {num_classes}, not {highest}.")


def kind(values: Tensor) -> str:
    """Type and shape of a tensor, for an error: "float32 [4]"."""
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"
