"""Search among frozen features: the nearest images of an image, and images that a set has twice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features
from simclr_lib.evaluation.features import pixel_features

CANDIDATES = 5  # nearest neighbours of an image among which its duplicates are looked for
SAME_PIXELS = 0.98  # correlation of grey thumbnails; different photographs of one viaduct reach 0.97
THUMBNAIL = 16  # side of those thumbnails, in pixels


def nearest_neighbors(
    bank: Tensor, queries: Tensor | None = None, k: int = 10, chunk_size: int = 1024
) -> tuple[Tensor, Tensor]:
    """Find the features of the bank that are most similar to each query, by cosine similarity.

    Args:
        bank: float [N, D].
        queries: float [M, D]; None takes the bank itself, and no feature is a neighbour of its own.
        k: number of neighbours; at most as many as there are.
        chunk_size: number of queries that are compared at one time; it does not change the result.

    Returns:
        (similarity, rows): float32 [M, k] and int64 [M, k], the most similar first, on the device of the bank.

    Raises:
        SimCLRError: features have another shape or are not finite, or ``k`` or ``chunk_size`` is below 1.
    """
    check_features(bank, "bank")
    if queries is not None:
        check_features(queries, "queries", width=bank.shape[1], at_least=0)
    if k < 1 or chunk_size < 1:
        raise SimCLRError(f"k and chunk_size must be at least 1, not k={k}, chunk_size={chunk_size}.")
    unit = F.normalize(bank.float(), dim=1)
    asked = unit if queries is None else F.normalize(queries.to(bank.device).float(), dim=1)
    k = min(k, len(bank) - (queries is None))
    similarity, rows = [], []
    for start in range(0, len(asked), chunk_size):
        close = asked[start : start + chunk_size] @ unit.T  # [m, N]
        if queries is None:
            close.diagonal(start).fill_(-torch.inf)
        values, places = close.topk(k, dim=1)
        similarity.append(values)
        rows.append(places)
    if not similarity:
        return unit.new_zeros(0, k), torch.zeros(0, k, dtype=torch.int64, device=unit.device)
    return torch.cat(similarity), torch.cat(rows)


def near_duplicates(features: Tensor, dataset: ImageDataset) -> list[tuple[int, int, float]]:
    """Find pairs of images that show the same picture, perhaps at another size, compression or brightness.

    The five nearest neighbours of each image are candidates. A pair is kept where the two grey thumbnails of 16×16
    pixels have a correlation of at least 0.98: features alone do not tell a copy from a similar image.

    Args:
        features: float [N, D], the features of the images.
        dataset: N images.

    Returns:
        (row, another row, correlation of the pixels) of each pair, the most alike first.

    Raises:
        SimCLRError: the features are not [N, D], or not finite.
    """
    check_features(features, "features")
    if len(features) != len(dataset):
        raise SimCLRError(f"features must be [{len(dataset)}, D], one row per image, not {list(features.shape)}.")
    if len(features) < 2:
        return []
    grey = pixel_features(dataset, THUMBNAIL).unflatten(1, (3, -1)).mean(dim=1)  # [N, 256]
    grey = F.normalize(grey - grey.mean(dim=1, keepdim=True), dim=1)
    _, rows = nearest_neighbors(features, k=CANDIDATES)
    first = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
    pairs = torch.stack([first, rows.cpu().flatten()], dim=1).sort(dim=1).values.unique(dim=0)  # [P, 2]
    alike = (grey[pairs[:, 0]] * grey[pairs[:, 1]]).sum(dim=1)
    kept = (alike >= SAME_PIXELS).nonzero().flatten()
    kept = kept[alike[kept].argsort(descending=True, stable=True)]
    return [(*pairs[i].tolist(), float(alike[i])) for i in kept.tolist()]
