"""The embedding explorer: features as points to touch, in a notebook or as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from html import escape
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
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import (
    Film,
    extract_features,
    pixel_features,
    project,
    trustworthiness,
)
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.seeding import initial_weights
from simclr_lib.teaching.style import OKABE_ITO

HERE = Path(__file__).parent
NEIGHBORS = 10
THUMBNAIL = 48  # pixels of a picture's side, at most
SPRITE = 8192  # pixels of the side of all pictures together: browsers decode no larger ones everywhere
CHUNK = 1024  # rows of similarities at a time

Scene = dict[str, Any]
"""What the JavaScript draws: numbers and texts, with arrays as bytes."""


class Explorer(anywidget.AnyWidget):
    """Points with pictures behind them: hover, click for true neighbours, select, change features, watch the film.

    Args:
        dataset: the images, with labels; those without one have label −1.
        features: name → float [N, D], one row an image; the first is shown first.
        pictures: name → float [N, 2] where the features are projected already.
        method: how the others are: "umap", "pca" or "tsne".
        film: the way to one of ``features`` while it was trained, see `simclr_lib.evaluation.Film`.
        metric: {name: float [N]}: another thing to colour by, such as each image's loss.
        title: what to call it.

    Attributes:
        selected: indices into ``dataset`` of what a box or lasso holds; set it to select from Python.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    scene = traitlets.Dict().tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, dataset: ImageDataset, features: Mapping[str, Tensor], **options: Any) -> None:
        super().__init__(scene=make_scene(dataset, features, **options))

    def save(self, path: str | Path) -> None:
        """Write the explorer as one HTML file, to open in any browser without a network."""
        write_atomically(Path(path), html_page(self.scene).encode())


def make_scene(
    dataset: ImageDataset,
    features: Mapping[str, Tensor],
    pictures: Mapping[str, Tensor] | None = None,
    method: ProjectionMethod = "umap",
    film: Film | None = None,
    metric: Mapping[str, Tensor] | None = None,
    title: str | None = None,
) -> Scene:
    """What an explorer shows; arguments as for `Explorer`, and a title.

    Raises:
        SimCLRError: no image, no features, too many images for a browser, features that are not finite, or not one
            row an image.
    """
    count = len(dataset)
    if count == 0 or not features:
        raise SimCLRError("an explorer needs at least one image and one kind of features.")
    side = min(dataset.image_size, THUMBNAIL)
    most = (SPRITE // side) ** 2
    if count > most:
        raise SimCLRError(
            f"an explorer holds at most {most:,} images of {side} pixels, not {count:,}: take a part of them, "
            "dataset.subset(…), and the same rows of the features."
        )
    for name, rows in features.items():
        if rows.ndim != 2 or len(rows) != count:
            raise SimCLRError(f"{name}: features must be [{count}, D], a row an image, not {list(rows.shape)}.")
        if not rows.isfinite().all():
            bad = (~rows.isfinite().all(dim=1)).nonzero().flatten()
            raise SimCLRError(f"{name}: {len(bad)} features are not finite, the first in row {int(bad[0])}.")
    if film and (film.name not in features or film.points.shape[1:] != (count, 2)):
        raise SimCLRError(f"the film of {film.name!r} must be of one of the features, with a point an image.")
    for name, values in (metric or {}).items():
        if values.shape != (count,) or not values.isfinite().all():
            raise SimCLRError(f"{name}: a metric must be [{count}] finite numbers, not {list(values.shape)}.")
    pictures = {**(pictures or {}), **({film.name: film.points[-1]} if film else {})}  # where the film ends
    columns = math.ceil(math.sqrt(count))
    labels = dataset.labels.cpu()
    scene: Scene = {
        "title": title or dataset.name,
        "method": method,
        "classes": dataset.classes,
        "colors": list(OKABE_ITO.values()),
        "labels": _bytes(labels, torch.int16),
        "indices": _bytes(torch.arange(count), torch.int32),
        "side": side,
        "columns": columns,
        "sprite": _sprite(dataset.images.cpu(), side, columns),
        "sprite_type": "image/jpeg",
        "views": [
            _view(name, rows.float().cpu(), pictures.get(name), method, labels) for name, rows in features.items()
        ],
        "metric": None,
        "film": None,
    }
    for name, values in (metric or {}).items():
        low, high = float(values.min()), float(values.max())
        scene["metric"] = {"name": name, "values": _bytes(values, torch.float32), "low": low, "high": high}
    if film:
        scene["film"] = {
            "view": film.name,
            "captions": film.captions,
            "points": _bytes(_onto(film.points, pictures[film.name]), torch.float32),
        }
    return scene


def kinds_of_features(model: SimCLR, config: TrainConfig, images: ImageDataset) -> dict[str, Tensor]:
    """h and z of a pretrained model, the pixels, and h of the same network with random weights: name → [N, D].

    Args:
        model: in evaluation mode.
        config: the settings that it was trained with.
        images: N of them.
    """
    device = next(model.parameters()).device
    with initial_weights(config.seed):
        random_encoder = place(config.encoder(images.image_size), device)
    h = extract_features(model.encoder, images, precision=config.precision)
    with torch.no_grad():
        z = model.projector(h.to(device)).cpu()
    return {
        "SimCLR h": h,
        "SimCLR z": z,
        "pixels": pixel_features(images),
        "random encoder": extract_features(random_encoder, images, precision=config.precision),
    }


def _view(name: str, features: Tensor, points: Tensor | None, method: ProjectionMethod, labels: Tensor) -> Scene:
    """One kind of features: where the points lie, their true neighbours, and how far to trust the picture."""
    count = len(features)
    if points is None:
        points = project(features, method) if count > 3 else torch.linspace(-1, 1, 2 * count).reshape(count, 2)
    k = min(NEIGHBORS, count - 1)
    similarity, neighbors = _nearest(F.normalize(features, dim=1), k, lambda some, all_: some @ all_.T)
    _, near = _nearest(points, k, lambda some, all_: -torch.cdist(some, all_))
    invented = count <= 3  # too few to project: their places say nothing
    shared = (neighbors[:, :, None] == near[:, None, :]).any(dim=2).float().mean() if k else torch.zeros(())
    return {
        "name": name,
        "points": _bytes(_to_square(points), torch.float32),
        "k": k,
        "neighbors": _bytes(neighbors, torch.int32),
        "similarity": _bytes(similarity, torch.float32),
        "predicted": _bytes(_vote(labels[neighbors], similarity), torch.int16),
        "trustworthiness": None if invented else trustworthiness(features, points),
        "overlap": float(shared),
    }


def _nearest(points: Tensor, k: int, closeness: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Closeness [N, k] and row [N, k] of the k others that are closest to each of the points [N, D].

    Args:
        points: N of them.
        k: how many.
        closeness: from some of the points [M, D] and all of them [N, D] to [M, N].
    """
    found = []
    for start in range(0, len(points), CHUNK):
        close = closeness(points[start : start + CHUNK], points)
        close[torch.arange(len(close)), torch.arange(start, start + len(close))] = -torch.inf  # not to itself
        found.append(close.topk(k, dim=1))
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def _vote(labels: Tensor, similarity: Tensor) -> Tensor:
    """What the neighbours say by majority, the more similar ones where votes are equal: int64 [N, k] → [N].

    −1 where none of them has a label.
    """
    if not (labels >= 0).any():
        return torch.full((len(labels),), -1)
    weight = torch.where(labels >= 0, 1 + 1e-3 * similarity, 0.0)  # an unlabelled one says nothing
    votes = torch.zeros(len(labels), int(labels.max()) + 1).scatter_add_(1, labels.clamp(min=0), weight)
    return torch.where(votes.amax(dim=1) > 0, votes.argmax(dim=1), -1)


def _to_square(points: Tensor) -> Tensor:
    """An embedding [N, 2], centred, into −1…1."""
    return _onto(points[None], points)[0]


def _onto(frames: Tensor, picture: Tensor) -> Tensor:
    """A film's frames [F, N, 2] in the square of the picture that it ends with."""
    middle = (picture.amax(dim=0) + picture.amin(dim=0)) / 2
    return (frames - middle) / (picture - middle).abs().max().clamp(min=1e-9)


def _sprite(images: Tensor, side: int, columns: int) -> bytes:
    """All images in one JPEG, ``columns`` in a row, each ``side`` pixels wide and high."""
    if tuple(images.shape[-2:]) != (side, side):
        size = max(images.shape[-2:])
        bottom, right = size - images.shape[-2], size - images.shape[-1]
        square = (F.pad(part, (0, right, 0, bottom)).float() for part in images.split(CHUNK))
        images = torch.cat([F.interpolate(part, side, mode="area").round().to(torch.uint8) for part in square])
    lines = math.ceil(len(images) / columns)
    sheet = torch.zeros(lines * columns, 3, side, side, dtype=torch.uint8)
    sheet[: len(images)] = images
    sheet = sheet.view(lines, columns, 3, side, side).permute(0, 3, 1, 4, 2).reshape(lines * side, columns * side, 3)
    buffer = io.BytesIO()
    Image.fromarray(sheet.numpy()).save(buffer, "JPEG", quality=88, subsampling=0)  # neighbours must not mix colours
    return buffer.getvalue()


def _bytes(values: Tensor, dtype: torch.dtype) -> bytes:
    return values.detach().cpu().to(dtype).contiguous().numpy().tobytes()


def html_fragment(scene: Scene) -> str:
    """An explorer as a part of an HTML page: style, data and script."""
    data = json.dumps(_as_text(scene), ensure_ascii=False).replace("<", "\\u003c")  # nothing may end the script early
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


def html_page(scene: Scene) -> str:
    """An explorer as a whole HTML page."""
    title = escape(scene["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>:root { color-scheme: light dark; font-family: system-ui, sans-serif; }</style>"
        f"<title>{title}</title></head>"
        f"<body><h1>{title}</h1>{html_fragment(scene)}</body></html>\n"
    )


def _as_text(value: Any) -> Any:
    """The same with bytes as base64, for JSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value
