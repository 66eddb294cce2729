"""The check of features for all of this folder: an error names what was found."""

from __future__ import annotations

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
