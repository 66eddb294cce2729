"""Two dimensions to look at: a picture of the embedding, and how far to trust it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError, unknown_name

MAX_COMPARED = 5_000  # points of which all pairs are compared

ProjectionMethod = Literal["umap", "pca", "tsne"]


def project(features: Tensor, method: ProjectionMethod = "umap", seed: int = 0, neighbors: int = 15) -> Tensor:
    """Project features to two dimensions; features are compared by cosine similarity.

    Args:
        features: float [N, D], N ≥ 4.
        method: "umap" (McInnes et al. 2018), "tsne" or "pca".
        seed: same seed, same picture.
        neighbors: UMAP's n_neighbors, t-SNE's perplexity; at most N − 1.

    Returns:
        float32 [N, 2].

    Raises:
        SimCLRError: fewer than four features, or no such method.
    """
    if len(features) < 4:
        raise SimCLRError(f"a picture of an embedding needs at least 4 images, not {len(features)}.")
    points = F.normalize(features.float(), dim=1).cpu().numpy()
    neighbors = min(neighbors, len(points) - 1)
    if method == "pca":
        from sklearn.decomposition import PCA

        picture = PCA(2, random_state=seed).fit_transform(points)
    elif method == "tsne":
        from sklearn.manifold import TSNE

        picture = TSNE(2, perplexity=neighbors, random_state=seed, init="pca").fit_transform(points)
    elif method == "umap":
        from umap import UMAP

        # n_jobs=1 is what a fixed seed forces anyway; saying so keeps UMAP from warning. From the principal components
        # it starts with clusters where they belong; its spectral default throws separate ones far apart.
        picture = UMAP(n_neighbors=neighbors, init="pca", random_state=seed, n_jobs=1).fit_transform(points)
    else:
        raise unknown_name("projection", method, ("umap", "pca", "tsne"))
    return torch.from_numpy(picture).float()


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
