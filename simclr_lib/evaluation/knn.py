"""Classification by the k nearest neighbours of frozen features (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.data.labels import check_labels
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features


def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int = 1024,
) -> Tensor:
    """Predict the label that gets most of the votes, see `knn_votes`.

    Args:
        bank, bank_labels, queries, k, temperature, chunk_size: as in `knn_votes`.

    Returns:
        int64 [M]: predicted labels, on the device of the bank.

    Raises:
        SimCLRError: as in `knn_votes`.
    """
    return knn_votes(bank, bank_labels, queries, k, temperature, chunk_size).argmax(dim=1)


def knn_votes(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int = 1024,
    own: Tensor | None = None,
) -> Tensor:
    """Let the k most similar features of the bank vote, each with weight exp(cosine similarity / temperature).

    Args:
        bank: float [N, D], features with known labels.
        bank_labels: int64 [N], 0 or more.
        queries: float [M, D].
        k: number of neighbours; at most N are used.
        temperature: the lower it is, the more the nearest neighbours count.
        chunk_size: number of queries that are compared at one time; it does not change the result.
        own: int64 [M], the row of the bank that is the query itself and has no vote, or −1.

    Returns:
        float32 [M, C]: each label's share of the votes of a query, 0…1, on the device of the bank. C is the largest
        label + 1.

    Raises:
        SimCLRError: features or labels have another shape or type, features are not finite, labels are negative, or a
            setting is out of its range.
    """
    check_features(bank, "bank", at_least=1 if own is None else 2)
    check_labels(bank_labels, "bank_labels", len(bank))
    check_features(queries, "queries", width=bank.shape[1], at_least=0)
    if k < 1 or chunk_size < 1 or not temperature > 0:
        raise SimCLRError(
            "kNN needs k and chunk_size of at least 1 and a temperature above 0, "
            f"not k={k}, chunk_size={chunk_size}, temperature={temperature}."
        )
    bank = F.normalize(bank.float(), dim=1)
    bank_labels, queries = bank_labels.to(bank.device), F.normalize(queries.to(bank.device).float(), dim=1)
    num_classes = int(bank_labels.max()) + 1
    own = torch.full((len(queries),), -1) if own is None else own
    shares = [torch.zeros(0, num_classes, device=bank.device)]
    for chunk, itself in zip(queries.split(chunk_size), own.to(bank.device).split(chunk_size), strict=True):
        similarity = chunk @ bank.T  # [m, N]
        known = (itself >= 0).nonzero().flatten()
        similarity[known, itself[known]] = -torch.inf
        similarity, neighbor = similarity.topk(min(k, len(bank)), dim=1)  # [m, k]
        # The weights are relative to that of the nearest neighbour: exp(1 / temperature) may overflow.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(chunk), num_classes).scatter_add_(1, bank_labels[neighbor], weight)
        shares.append(votes / votes.sum(dim=1, keepdim=True))
    return torch.cat(shares)


def votes_of_labelled(features: Tensor, labels: Tensor, k: int | None = None) -> Tensor:
    """Let the nearest images with a label vote on every image of a set, see `knn_votes`; none votes on itself.

    Args:
        features: float [N, D], of all images.
        labels: int64 [N], −1 where an image has no label.
        k: number of neighbours; None takes `suitable_k`.

    Returns:
        float32 [N, C]: each label's share of the votes, 0…1, on the device of the features.

    Raises:
        SimCLRError: there is not one label, int64, for each row of features, a label is below −1, the labels are not of
            two classes or more, or as in `knn_votes`.
    """
    check_features(features, "features")
    check_labels(labels, "labels", len(features), unlabelled=True)
    labels = labels.to(features.device)
    labelled = (labels >= 0).nonzero().flatten()
    if len(labels[labelled].unique()) < 2:
        raise SimCLRError("a vote needs labelled images of two classes or more: add labels of another class.")
    own = torch.full_like(labels, -1)
    own[labelled] = torch.arange(len(labelled), device=labels.device)
    k = suitable_k(labels) if k is None else k
    return knn_votes(features[labelled], labels[labelled], features, k, own=own)


def suitable_k(labels: Tensor) -> int:
    """Choose the number of neighbours that vote: 20, or the size of the smallest labelled class if that is less.

    With more, a class of few labels is outvoted even where all of them are near.

    Args:
        labels: int64 [N], −1 where an image has no label.

    Raises:
        SimCLRError: the labels have another shape or type, or one is below −1.
    """
    check_labels(labels, "labels", unlabelled=True)
    counts = labels[labels >= 0].bincount()
    return min([20, *filter(None, counts.tolist())])


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.1,
) -> float:
    """Compute the share of queries whose label `knn_predict` finds, 0…1.

    Args:
        bank, bank_labels, queries, k, temperature: as in `knn_predict`.
        query_labels: int64 [M], M ≥ 1, 0 or more.

    Returns:
        The share, a plain number.

    Raises:
        SimCLRError: as in `knn_predict`; also for ``query_labels``, and without any query.
    """
    check_features(queries, "queries")
    check_labels(query_labels, "query_labels", len(queries))
    predicted = knn_predict(bank, bank_labels, queries, k, temperature)
    return (predicted == query_labels.to(predicted.device)).float().mean().item()
