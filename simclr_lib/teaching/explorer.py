"""The embedding explorer: it shows features as points, in a notebook or as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import torch
import traitlets
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import ProjectionMethod
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import place
from simclr_lib.errors import SimCLRError, counted, percentage, shown
from simclr_lib.evaluation import (
    Film,
    extract_features,
    pixel_features,
    project,
    projected,
    trustworthiness,
)
from simclr_lib.files import write_atomically
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.seeding import initial_weights
from simclr_lib.teaching.page import About, html_document
from simclr_lib.teaching.style import CLASS_COLORS

HERE = Path(__file__).parent
NEIGHBORS = 10
THUMBNAIL = 48  # largest side of a picture, in pixels
SPRITE = 8192  # side of all pictures together, in pixels: not every browser decodes larger ones
CHUNK = 1024  # rows of similarities that are computed at a time

Scene = dict[str, Any]
"""Everything that the JavaScript draws: numbers and texts, with arrays as bytes."""


class Explorer(anywidget.AnyWidget):
    """Points with pictures behind them: hover, click for true neighbours, select, change features, watch the film.

    Args:
        dataset: N images with labels; an image without a label has label −1.
        features: name → float [N, D], one row per image; the first entry is shown first.
        pictures: name → float [N, 2], for features that have been projected already.
        method: the projection of the other features: "umap", "pca" or "tsne".
        film: the development of one of ``features`` during training, see `simclr_lib.evaluation.Film`.
        metric: (name, float [N]): one more quantity to colour the points by, such as the loss of each image.
        title: heading; the name of ``dataset`` by default.

    Attributes:
        selected: indices into ``dataset`` of the images in a box or lasso; set it to select from Python.

    Raises:
        SimCLRError: see `make_scene`.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    scene = traitlets.Dict().tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        dataset: ImageDataset,
        features: Mapping[str, Tensor],
        pictures: Mapping[str, Tensor] | None = None,
        method: ProjectionMethod = "umap",
        film: Film | None = None,
        metric: tuple[str, Tensor] | None = None,
        title: str | None = None,
    ) -> None:
        super().__init__(scene=make_scene(dataset, features, pictures, method, film, metric, title))

    def save(self, path: str | Path) -> None:
        """Write the explorer as one HTML file, to open in any browser without a network."""
        write_atomically(Path(path), html_page(self.scene).encode())


def make_scene(
    dataset: ImageDataset,
    features: Mapping[str, Tensor],
    pictures: Mapping[str, Tensor] | None = None,
    method: ProjectionMethod = "umap",
    film: Film | None = None,
    metric: tuple[str, Tensor] | None = None,
    title: str | None = None,
) -> Scene:
    """Project the features and pack everything that an explorer shows. The arguments are those of `Explorer`.

    Raises:
        SimCLRError: if there is no image or no features, if there are too many images for a browser, or if features,
            metric or film do not fit the images or are not finite.
    """
    _check_features(dataset, features)
    if film:
        _check_film(film, features, len(dataset))
        pictures = {**(pictures or {}), film.name: film.points[-1]}  # the picture is where the film ends
    pictures = pictures or {}
    labels = dataset.labels.cpu()
    side = _thumbnail_side(dataset)
    columns = math.ceil(math.sqrt(len(dataset)))
    return {
        "title": shown(title or dataset.name),
        "method": method,
        "classes": [shown(name) for name in dataset.classes],
        "colors": CLASS_COLORS,
        "files": [shown(name) for name in dataset.files] if dataset.files else None,
        "labels": _bytes(labels, torch.int16),
        "side": side,
        "columns": columns,
        "sprite": _sprite(dataset.images.cpu(), side, columns),
        "views": [
            _view(name, rows.float().cpu(), pictures.get(name), method, labels) for name, rows in features.items()
        ],
        "metric": _metric(*metric, len(dataset)) if metric else None,
        "film": _film(film) if film else None,
    }


def _thumbnail_side(dataset: ImageDataset) -> int:
    return min(dataset.image_size, THUMBNAIL)


def _check_features(dataset: ImageDataset, features: Mapping[str, Tensor]) -> None:
    """Raise an error where the explorer cannot show these images and features."""
    count, side = len(dataset), _thumbnail_side(dataset)
    if count == 0 or not features:
        raise SimCLRError("an explorer needs at least one image and one kind of features.")
    limit = (SPRITE // side) ** 2
    if count > limit:
        raise SimCLRError(
            f"an explorer holds at most {limit:,} images of {side} pixels, not {count:,}: take a part of them, "
            "dataset.subset(…), and the same rows of the features."
        )
    for name, rows in features.items():
        if rows.ndim != 2 or len(rows) != count:
            raise SimCLRError(f"{name}: features must be [{count}, D], one row per image, not {list(rows.shape)}.")
        if not rows.isfinite().all():
            bad = (~rows.isfinite().all(dim=1)).nonzero().flatten()
            raise SimCLRError(f"{name}: {len(bad)} features are not finite, the first in row {int(bad[0])}.")


def _check_film(film: Film, features: Mapping[str, Tensor], count: int) -> None:
    """Raise an error where the film does not show one of the features, or not all ``count`` images."""
    if film.name not in features:
        raise SimCLRError(f"the film shows {film.name!r}, which must be one of the features: {', '.join(features)}.")
    if film.points.shape[1:] != (count, 2):
        raise SimCLRError(f"the film must have points [frames, {count}, 2], not {list(film.points.shape)}.")


def _metric(name: str, values: Tensor, count: int) -> Scene:
    """A quantity [N] with the range of its middle 90 %, which the colours span: a few outliers would take them all."""
    if values.shape != (count,) or not values.isfinite().all():
        raise SimCLRError(f"{name}: a metric must be [{count}] finite numbers, not {list(values.shape)}.")
    return {
        "name": shown(name),
        "values": _bytes(values, torch.float32),
        "low": float(values.double().quantile(0.05)),
        "high": float(values.double().quantile(0.95)),
    }


def _film(film: Film) -> Scene:
    """The frames, in the coordinates of the picture that they end with."""
    return {
        "view": shown(film.name),
        "captions": [shown(caption) for caption in film.captions],
        "points": _bytes(_in_square(film.points, film.points[-1]), torch.float32),
    }


def kinds_of_features(model: SimCLR | Classifier, config: TrainConfig, images: ImageDataset) -> dict[str, Tensor]:
    """Several kinds of features: h and z of a trained model, h of the same network with random weights, and the pixels.

    The random network is left out where the encoder was given as a module, which cannot be made anew.

    Args:
        model: the trained model, in evaluation mode. A `Classifier` has no z.
        config: the settings that the model was trained with.
        images: N images.

    Returns:
        name → float [N, D].
    """
    device = next(model.parameters()).device
    h = extract_features(model.encoder, images, precision=config.precision)
    if isinstance(model, SimCLR):
        kinds = {"SimCLR h": h, "SimCLR z": projected(model, h)}
    else:
        kinds = {"supervised h": h}
    kinds["pixels"] = pixel_features(images)
    if not config.has_own_encoder:
        with initial_weights(config.seed):
            random_encoder = place(config.encoder(images.image_size), device)
        kinds["random encoder"] = extract_features(random_encoder, images, precision=config.precision)
    return kinds


def _view(name: str, features: Tensor, points: Tensor | None, method: ProjectionMethod, labels: Tensor) -> Scene:
    """One kind of features [N, D]: its points, their true neighbours, and how far to trust the picture."""
    count = len(features)
    if points is None:
        points = project(features, method) if count > 3 else torch.linspace(-1, 1, 2 * count).reshape(count, 2)
    k = min(NEIGHBORS, count - 1)
    similarity, neighbors = _nearest(F.normalize(features, dim=1), k, lambda part, whole: part @ whole.T)
    _, near = _nearest(points, k, lambda part, whole: -torch.cdist(part, whole))
    invented = count <= 3  # so few points cannot be projected: their places mean nothing
    shared = (neighbors[:, :, None] == near[:, None, :]).any(dim=2).float().mean() if k else torch.zeros(())
    return {
        "name": shown(name),
        "points": _bytes(_in_square(points, points), torch.float32),
        "k": k,
        "neighbors": _bytes(neighbors, torch.int32),
        "similarity": _bytes(similarity, torch.float32),
        "predicted": _bytes(_vote(labels[neighbors], similarity), torch.int16),
        "trustworthiness": None if invented else trustworthiness(features, points),
        "overlap": float(shared),
    }


def _nearest(points: Tensor, k: int, closeness: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The k other points that are closest to each point.

    Args:
        points: float [N, D].
        k: number of neighbours.
        closeness: maps a part of the points [M, D] and all of them [N, D] to float [M, N].

    Returns:
        closeness of the neighbours, float [N, k], and their rows, int64 [N, k].
    """
    found = []
    for start in range(0, len(points), CHUNK):
        close = closeness(points[start : start + CHUNK], points)
        rows = torch.arange(len(close))
        close[rows, start + rows] = -torch.inf  # no point is its own neighbour
        found.append(close.topk(k, dim=1))
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def _vote(labels: Tensor, similarity: Tensor) -> Tensor:
    """The class that most neighbours have; where votes are equal, the class of the more similar neighbours.

    Args:
        labels: int64 [N, k], the neighbours' classes, −1 without a label.
        similarity: float [N, k].

    Returns:
        int64 [N]: classes; −1 where no neighbour has a label.
    """
    if not (labels >= 0).any():
        return torch.full((len(labels),), -1)
    weight = torch.where(labels >= 0, 1 + 1e-3 * similarity, 0.0)
    votes = torch.zeros(len(labels), int(labels.max()) + 1).scatter_add_(1, labels.clamp(min=0), weight)
    return torch.where(votes.amax(dim=1) > 0, votes.argmax(dim=1), -1)


def _in_square(points: Tensor, picture: Tensor) -> Tensor:
    """Points [..., N, 2], moved and scaled as ``picture`` [N, 2] must be to fill the square from −1 to 1."""
    middle = (picture.amax(dim=0) + picture.amin(dim=0)) / 2
    return (points - middle) / (picture - middle).abs().max().clamp(min=1e-9)


def _sprite(images: Tensor, side: int, columns: int) -> bytes:
    """All images in one JPEG file, ``columns`` in a row, each ``side`` pixels wide and high."""
    if tuple(images.shape[-2:]) != (side, side):
        size = max(images.shape[-2:])
        bottom, right = size - images.shape[-2], size - images.shape[-1]
        square = (F.pad(part, (0, right, 0, bottom)).float() for part in images.split(64))
        images = torch.cat([F.interpolate(part, side, mode="area").round().to(torch.uint8) for part in square])
    lines = math.ceil(len(images) / columns)
    sheet = torch.zeros(lines * columns, 3, side, side, dtype=torch.uint8)
    sheet[: len(images)] = images
    sheet = sheet.view(lines, columns, 3, side, side).permute(0, 3, 1, 4, 2).reshape(lines * side, columns * side, 3)
    buffer = io.BytesIO()
    # Chroma subsampling would mix the colours of neighbouring images.
    Image.fromarray(sheet.numpy()).save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def _bytes(values: Tensor, dtype: torch.dtype) -> bytes:
    return values.detach().cpu().to(dtype).contiguous().numpy().tobytes()


def html_fragment(scene: Scene) -> str:
    """An explorer as a part of an HTML page: style, data and script."""
    data = json.dumps(_as_text(scene), ensure_ascii=False).replace("<", "\\u003c")  # no name may end the script early
    script = (HERE / "explorer.js").read_text(encoding="utf-8")
    style = (HERE / "explorer.css").read_text(encoding="utf-8")
    name = "explorer-" + hashlib.blake2b(data.encode(), digest_size=4).hexdigest()  # a page may hold several
    return (
        f'<style>{style}</style><div id="{name}"></div>'
        f'<script type="application/json" id="{name}-scene">{data}</script><script type="module">{script}\n'
        f'const scene = JSON.parse(document.getElementById("{name}-scene").textContent);\n'
        f'mount(document.getElementById("{name}"), scene);</script>'
        "<noscript>The explorer needs JavaScript.</noscript>"
    )


def html_page(scene: Scene, preview: str | None = None) -> str:
    """An explorer as a whole HTML page.

    Args:
        scene: what it shows, see `make_scene`.
        preview: the address of a picture for previews of the page.
    """
    count = counted(len(scene["labels"]) // 2, "image")  # two bytes each
    lead = (
        f"Each of {count} is a point, and images that the network finds similar lie close together. Point at one to "
        "see it, or zoom in until the points become pictures."
    )
    about = About(
        f"{scene['title']}: images as a neural network sees them", "Embedding explorer", lead, preview=preview
    )
    return html_document(about, f"<section>{html_fragment(scene)}</section>")


def conclusion_of(scene: Scene) -> str:
    """Say in a sentence, with its numbers, what the first kind of features of a scene shows."""
    view = scene["views"][0]
    labels, votes = (
        torch.frombuffer(bytearray(data), dtype=torch.int16) for data in (scene["labels"], view["predicted"])
    )
    tested = (labels >= 0) & (votes >= 0)
    k = counted(view["k"], "nearest neighbour")
    if len(scene["classes"]) > 1 and tested.any():
        right = float((labels == votes)[tested].float().mean())
        return f"For {percentage(right)} of these images, a vote of the {k} by {view['name']} gives the right class."
    if view["trustworthiness"] is None:
        return ""
    return f"Of an image's {k} by {view['name']}, {percentage(view['overlap'])} are among its nearest in this picture."


def _as_text(value: Any) -> Any:
    """A part of a scene with its bytes as base64 text, for JSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value
