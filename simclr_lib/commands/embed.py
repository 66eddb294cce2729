"""``simclr embed``: the features of many images as tables, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.data import ImageDataset
from simclr_lib.errors import counted
from simclr_lib.evaluation import extract_features, near_duplicates, project, projected, trustworthiness
from simclr_lib.experiments.comparison import evenly
from simclr_lib.files import write_atomically, write_csv, write_npz
from simclr_lib.models import SimCLR
from simclr_lib.recipes import FILMED
from simclr_lib.settings import EmbedConfig
from simclr_lib.training import read_film

EXPLORED = 5_000  # images in an explorer without a film: its file stays below 15 MB


def embed(config: EmbedConfig) -> None:
    """Run ``simclr embed``: writes the features of the test images, or of all in a folder, and draws them."""
    # Imported here, so that the other commands do not wait for matplotlib.
    from simclr_lib.teaching.explorer import html_page, kinds_of_features, make_scene
    from simclr_lib.teaching.plots import plot_embeddings
    from simclr_lib.teaching.report import png_bytes
    from simclr_lib.teaching.run_report import film_of_run

    run = open_run(config)
    out, images = run.out, run.all_images(config.limit)
    features = extract_features(run.model.encoder, images, precision=run.settings.precision)
    arrays = {"files": np.array(images.names), "labels": images.labels.numpy(), "h": features.numpy()}
    if isinstance(run.model, SimCLR):
        arrays["z"] = projected(run.model, features).numpy()
    write_npz(out / "embeddings.npz", arrays)
    points = None
    if len(features) >= 4:
        print(f"projecting {len(features):,} features of {features.shape[1]} numbers by {config.method} …")
        points = project(features, config.method, config.seed)
        write_npz(out / "embeddings.npz", {**arrays, "xy": points.numpy()})
    places = [("", "")] * len(images) if points is None else [(f"{x:.4f}", f"{y:.4f}") for x, y in points.tolist()]
    rows = [(*row, *place) for *row, place in zip(images.names, images.label_names, places, strict=True)]
    write_csv(out / "embeddings.csv", ("file", "label", "x", "y"), rows)
    print(f"features: {out / 'embeddings.npz'}\ntable: {out / 'embeddings.csv'}")
    _write_duplicates(out / "duplicates.csv", features, images)
    if points is None:
        print(f"{counted(len(images), 'image')}: a picture in two dimensions needs 4 or more")
        return

    trust = trustworthiness(features, points)
    title = f"{config.method}, trustworthiness {trust:.3f}"
    figure = plot_embeddings({title: points}, images.labels, images.classes)
    write_atomically(out / "embedding.png", png_bytes(figure))
    print(f"picture: {out / 'embedding.png'} (trustworthiness {trust:.3f})")

    filmed = evenly(images, FILMED)
    frames = read_film(run.run_dir, filmed)
    shown = filmed if frames else evenly(images, EXPLORED)
    kinds = kinds_of_features(run.model, run.settings, shown)
    print(f"projecting {', '.join(kinds)} of {len(shown):,} images …")
    name, h = next(iter(kinds.items()))  # the features of the run come first
    film = film_of_run(frames, h, config.method)
    pictures = {name: points} if len(shown) == len(images) else None  # projected already
    scene = make_scene(shown, kinds, pictures, config.method, film, title=images.name)
    write_atomically(out / "explorer.html", html_page(scene, "embedding.png").encode())
    print(f"explorer: {out / 'explorer.html'}, to open in a browser")


def _write_duplicates(path: Path, features: Tensor, images: ImageDataset) -> None:
    """Write a line "file,other,correlation" for each pair of images that show the same picture."""
    names = images.names
    pairs = [(names[a], names[b], f"{alike:.4f}") for a, b, alike in near_duplicates(features, images)]
    write_csv(path, ("file", "other", "correlation"), pairs)
    example = f", such as {pairs[0][0]} and {pairs[0][1]}" if pairs else ""
    print(f"near-duplicates: {counted(len(pairs), 'pair')}{example} ({path})")
