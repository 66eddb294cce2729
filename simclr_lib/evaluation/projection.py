"""Two dimensions to look at: a picture of the embedding, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import ProjectionMethod
from simclr_lib.errors import SimCLRError, unknown_name

MAX_COMPARED = 5_000  # points of which all pairs are compared
STEPS_FROM_START = 100  # of UMAP, where it begins at an embedding; by itself it takes 500 for few points


def project(
    features: Tensor,
    method: ProjectionMethod = "umap",
    seed: int = 0,
    neighbors: int = 15,
    start: Tensor | None = None,
) -> Tensor:
    """Project features to two dimensions; features are compared by cosine similarity.

    Args:
        features: float [N, D], N ≥ 4.
        method: "umap" (McInnes et al. 2018), "tsne" or "pca".
        seed: same seed, same picture.
        neighbors: UMAP's n_neighbors, t-SNE's perplexity; at most N − 1.
        start: float [N, 2], an embedding where UMAP and t-SNE begin; None is the principal components.

    Returns:
        float32 [N, 2].

    Raises:
        SimCLRError: fewer than four features, or no such method.
    """
    if len(features) < 4:
        raise SimCLRError(f"a picture of an embedding needs at least 4 images, not {len(features)}.")
    points = F.normalize(features.float(), dim=1).cpu().numpy()
    neighbors = min(neighbors, len(points) - 1)
    if np.ptp(points, axis=0).max() < 1e-6:  # all alike: one point, where PCA would divide by zero
        return torch.zeros(len(points), 2)
    if method == "pca":
        from sklearn.decomposition import PCA

        picture = PCA(2, random_state=seed).fit_transform(points)
    elif method == "tsne":
        from sklearn.manifold import TSNE

        picture = TSNE(2, perplexity=neighbors, random_state=seed, init=_start(start)).fit_transform(points)
    elif method == "umap":
        from umap import UMAP

        # n_jobs=1 is what a fixed seed forces anyway; saying so keeps UMAP from warning. From the principal components
        # it starts with clusters where they belong; its spectral default throws separate ones far apart.
        steps = None if start is None else STEPS_FROM_START
        umap = UMAP(n_neighbors=neighbors, init=_start(start), n_epochs=steps, random_state=seed, n_jobs=1)
        picture = umap.fit_transform(points)
    else:
        raise unknown_name("projection", method, ("umap", "pca", "tsne"))
    return torch.from_numpy(picture).float()


def _start(points: Tensor | None) -> Any:
    return "pca" if points is None else points.cpu().numpy()


@dataclass(frozen=True)
class Film:
    """How an embedding came about.

    Attributes:
        name: which features it shows.
        captions: of each frame, such as "epoch 3".
        points: float [frames, N, 2]; each frame is turned to lie on the next as well as it can.
    """

    name: str
    captions: list[str]
    points: Tensor


def make_film(
    name: str, frames: Mapping[str, Tensor], last: Tensor | None = None, method: ProjectionMethod = "umap"
) -> Film:
    """Project the features of several moments so that they can be watched one after the other.

    From the last frame backwards, each begins where the next one lies, and is then turned or mirrored onto it
    (orthogonal Procrustes problem): what moves from frame to frame is what the features changed.

    Args:
        name: of the features.
        frames: caption → float [N, D], in order of time, of the same N ≥ 4 images.
        last: the last frame's picture, float [N, 2], where there is one already.
        method: as in `project`.
    """
    from scipy.linalg import orthogonal_procrustes

    points: list[Tensor] = []
    for features in reversed(list(frames.values())):
        if not points:
            points.append(project(features, method) if last is None else last)
            continue
        to = points[-1] - points[-1].mean(dim=0)
        start = points[-1] if to.abs().max() > 0 else None  # UMAP divides by its extent
        own = project(features, method, start=start)
        own = own - own.mean(dim=0)
        turn, _ = orthogonal_procrustes(own.double().numpy(), to.double().numpy())
        points.append((own.double() @ torch.from_numpy(turn)).float() + points[-1].mean(dim=0))
    return Film(name, list(frames), torch.stack(points[::-1]))


def trustworthiness(features: Tensor, picture: Tensor, neighbors: int = 15) -> float:
    """How far neighbours in the picture are neighbours in the feature space, 0…1 (Venna & Kaski 2001).

    It compares all pairs, so of more than 5,000 points it takes 5,000, evenly spaced: memory grows with the square.
    """
    rows = torch.linspace(0, len(features) - 1, min(len(features), MAX_COMPARED)).long()
    features, picture = features[rows], picture[rows]
    from sklearn.manifold import trustworthiness as sklearn_trustworthiness

    points = F.normalize(features.float(), dim=1).cpu().numpy()
    neighbors = min(neighbors, (len(points) - 1) // 2)
    return float(sklearn_trustworthiness(points, picture.numpy(), n_neighbors=neighbors))
