"""Two-dimensional pictures of an embedding, and a measure of how far to trust them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import MAX_SEED, ProjectionMethod
from simclr_lib.data.cache import cache_dir, is_writable
from simclr_lib.errors import SimCLRError, require_range, unknown_name
from simclr_lib.evaluation.checks import check_features

MAX_COMPARED = 5_000  # the largest number of points of which all pairs are compared
STEPS_FROM_START = 100  # epochs of UMAP from a given start; without one it takes 500 for few points


def project(
    features: Tensor,
    method: ProjectionMethod = "umap",
    seed: int = 0,
    neighbors: int = 15,
    start: Tensor | None = None,
) -> Tensor:
    """Project features to two dimensions; features are compared by cosine similarity.

    Args:
        features: float [N, D], N ≥ 4, D ≥ 2.
        method: "umap" (McInnes et al. 2018, arXiv 1802.03426), "tsne" or "pca".
        seed: the same seed gives the same picture.
        neighbors: n_neighbors of UMAP, perplexity of t-SNE: from 2 on; more than N − 1 counts as N − 1.
        start: float [N, 2], an embedding where UMAP and t-SNE begin, not all of it one point; None begins at the
            principal components.

    Returns:
        float32 [N, 2].

    Raises:
        SimCLRError: there are fewer than four features, features or start have another shape or are not finite, the
            method is unknown, or ``neighbors`` or ``seed`` is out of its range.
    """
    check_features(features, "features", at_least=4)
    if neighbors < 2:
        raise SimCLRError(f"neighbors must be at least 2, not {neighbors}.")
    if method not in get_args(ProjectionMethod):
        raise unknown_name("projection", method, get_args(ProjectionMethod))
    if features.shape[1] < 2:
        raise SimCLRError("features of one number each have no picture in two dimensions.")
    if start is not None:
        check_picture(start, "start", len(features))
        if bool((start == start[0]).all()):
            raise SimCLRError("start must have some extent: all of its points are the same.")
    require_range("seed", seed, 0, MAX_SEED)
    points = F.normalize(features.float(), dim=1).cpu().numpy()
    neighbors = min(neighbors, len(points) - 1)
    if np.ptp(points, axis=0).max() < 1e-6:  # PCA divides by the extent, which is 0 if all features coincide
        return torch.zeros(len(points), 2)
    if method == "pca":
        from sklearn.decomposition import PCA

        picture = PCA(2, random_state=seed).fit_transform(points)
    elif method == "tsne":
        from sklearn.manifold import TSNE

        picture = TSNE(2, perplexity=neighbors, random_state=seed, init=_start(start)).fit_transform(points)
    else:
        picture = _umap(points, neighbors, seed, start)
    return torch.from_numpy(picture).float()


def _umap(points: np.ndarray, neighbors: int, seed: int, start: Tensor | None) -> np.ndarray:
    _give_numba_a_folder()
    from umap import UMAP

    _keep_what_umap_compiles()
    # A fixed seed forces n_jobs=1 anyway; without the argument UMAP warns of it. UMAP begins at the principal
    # components because they keep clusters near each other; its spectral start throws separate ones far apart.
    steps = None if start is None else STEPS_FROM_START
    umap = UMAP(n_neighbors=neighbors, init=_start(start), n_epochs=steps, random_state=seed, n_jobs=1)
    threads = torch.get_num_threads()
    picture = umap.fit_transform(points)
    torch.set_num_threads(threads)  # numba and PyTorch share OpenMP, and UMAP leaves it with one thread per core
    return picture


def _give_numba_a_folder() -> None:
    """Name a folder for numba, which umap imports, where neither the package's own nor the home folder can be written.

    numba keeps compiled functions there, and stops without such a folder.
    """
    package = importlib.util.find_spec("umap")
    usual = [Path(package.origin).parent / "__pycache__"] if package and package.origin else []
    usual.append(Path(os.path.expanduser("~/.cache")) / "numba")
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(is_writable, usual)):
        os.environ["NUMBA_CACHE_DIR"] = str(cache_dir() / "numba")


@cache
def _keep_what_umap_compiles() -> None:
    """Let numba keep the machine code of UMAP in its folder, where the next process finds it.

    UMAP asks for that itself for a few functions only. Every process would compile the others again, which takes
    longer than most pictures do.
    """
    from umap import layouts, umap_, utils

    for module in (layouts, umap_, utils):
        for function in vars(module).values():
            if hasattr(function, "enable_caching") and not function.signatures:  # not compiled yet
                function.enable_caching()


def _start(points: Tensor | None) -> Any:
    return "pca" if points is None else points.float().cpu().numpy()


def check_picture(picture: Tensor, name: str, count: int) -> None:
    """Raise `SimCLRError` unless the picture is a finite tensor [count, 2]."""
    check_features(picture, name, width=2)
    if len(picture) != count:
        raise SimCLRError(f"{name} must be [{count}, 2], one point for each feature, not {list(picture.shape)}.")


@dataclass(frozen=True)
class Film:
    """Pictures of an embedding at several moments of its training.

    Attributes:
        name: the name of the features that it shows.
        captions: one for each frame, such as "epoch 3".
        points: float [frames, N, 2]; each frame is turned to lie on the next one as well as it can.
    """

    name: str
    captions: list[str]
    points: Tensor


def make_film(
    name: str, frames: Mapping[str, Tensor], last: Tensor | None = None, method: ProjectionMethod = "umap"
) -> Film:
    """Project the features of several moments so that they can be watched one after the other.

    From the last frame backwards, each begins where the next one lies, and is then turned or mirrored onto it
    (orthogonal Procrustes problem): only what the features changed moves from frame to frame.

    Args:
        name: the name of the features.
        frames: caption → float [N, D], in order of time, of the same N ≥ 4 images.
        last: the picture of the last frame, float [N, 2], where there is one already.
        method: as in `project`.

    Raises:
        SimCLRError: there are no frames, their numbers of images differ, or as in `project`.
    """
    from scipy.linalg import orthogonal_procrustes

    counts = {len(features) for features in frames.values()}
    if len(counts) != 1:
        raise SimCLRError(f"a film needs frames of the same number of images, not {sorted(counts) or 'no frames'}.")
    if last is not None:
        check_picture(last, "last", counts.pop())
    points: list[Tensor] = []
    for features in reversed(list(frames.values())):
        if not points:
            points.append(project(features, method) if last is None else last)
            continue
        center = points[-1].mean(dim=0)
        target = points[-1] - center
        start = points[-1] if target.abs().max() > 0 else None  # UMAP divides by the extent of its start
        picture = project(features, method, start=start)
        picture = picture - picture.mean(dim=0)
        turn, _ = orthogonal_procrustes(picture.double().numpy(), target.double().numpy())
        points.append((picture.double() @ torch.from_numpy(turn)).float() + center)
    return Film(name, list(frames), torch.stack(points[::-1]))


def trustworthiness(features: Tensor, picture: Tensor, neighbors: int = 15) -> float:
    """Measure how far neighbours in the picture are neighbours in the feature space, 0…1 (Venna & Kaski 2001).

    It compares all pairs, and memory grows with their number. So it takes 5,000 evenly spaced points of a larger set.

    Args:
        features: float [N, D], N ≥ 3.
        picture: float [N, 2].
        neighbors: number of neighbours that are compared; more than (N − 1) / 2 counts as that.

    Raises:
        SimCLRError: there are fewer than three features, features or picture have another shape or are not finite, or
            ``neighbors`` is below 1.
    """
    check_features(features, "features", at_least=3)
    check_picture(picture, "picture", len(features))
    if neighbors < 1:
        raise SimCLRError(f"neighbors must be at least 1, not {neighbors}.")
    rows = torch.linspace(0, len(features) - 1, min(len(features), MAX_COMPARED)).long()
    features, picture = features[rows], picture[rows]
    from sklearn.manifold import trustworthiness as sklearn_trustworthiness

    points = F.normalize(features.float(), dim=1).cpu().numpy()
    neighbors = min(neighbors, (len(points) - 1) // 2)
    return float(sklearn_trustworthiness(points, picture.float().cpu().numpy(), n_neighbors=neighbors))
