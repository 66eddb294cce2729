"""Checks of features and labels for all of this folder: an error names what was found."""

from __future__ import annotations

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError, type_name


def check_features(features: Tensor, name: str, width: int | None = None, at_least: int = 1) -> None:
    """Raise `SimCLRError` unless the features are a finite real tensor [N, D].

    Args:
        features: the argument of the caller.
        name: the argument's name, for the message.
        width: D, where it is known.
        at_least: the smallest N.
    """
    if not isinstance(features, Tensor):
        raise SimCLRError(f"{name} must be a tensor, not {type_name(features)}.")
    if features.ndim != 2 or features.shape[1] == 0 or width not in (None, features.shape[1]):
        raise SimCLRError(f"{name} must be [N, {width or 'D'}], not {list(features.shape)}.")
    if len(features) < at_least:
        raise SimCLRError(f"{name} must have at least {at_least} rows, not {len(features)}.")
    if features.is_complex():
        raise SimCLRError(f"{name} must be real numbers, not {features.dtype}.")
    unusable = (~features.float().isfinite()).any(dim=1)
    if unusable.any():
        raise SimCLRError(f"{name} must be finite: {int(unusable.sum())} of {len(features)} rows have NaN or infinity.")


def check_labels(labels: Tensor, name: str, count: int, num_classes: int | None = None) -> None:
    """Raise `SimCLRError` unless the labels are int64 [count], from 0 to ``num_classes`` − 1.

    Args:
        labels: the argument of the caller.
        name: the argument's name, for the message.
        count: the number of features that they belong to.
        num_classes: the number of classes, where it is known.
    """
    if not isinstance(labels, Tensor):
        raise SimCLRError(f"{name} must be a tensor, not {type_name(labels)}.")
    if labels.dtype != torch.int64 or labels.shape != (count,):
        found = f"{str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}"
        raise SimCLRError(f"{name} must be int64 [{count}], one label for each row of features, not {found}.")
    if count == 0:
        return
    lowest, highest = torch.stack(labels.aminmax()).tolist()
    if lowest < 0:
        raise SimCLRError(f"{name} must be 0 or more, not {lowest}: leave out what has no label.")
    if num_classes is not None and highest >= num_classes:
        raise SimCLRError(f"{name} must be below the number of classes, {num_classes}, not {highest}.")
