"""``simclr search``: the images of a folder that are most similar to a photo."""

from __future__ import annotations

import os

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import extract_features, nearest_neighbors
from simclr_lib.files import write_atomically, write_csv
from simclr_lib.settings import SearchConfig


def search(config: SearchConfig) -> None:
    """Run ``simclr search``: writes the nearest images as search.csv and search.html, and prints their names."""
    from simclr_lib.teaching.report import search_page  # imported here, because it brings matplotlib

    run = open_run(config)
    images = run.all_images(config.limit)
    photo = run.photo(config.photo, images)
    folder, itself = run.settings.data_dir or "", os.path.realpath(config.photo)
    files = images.files or [""] * len(images)
    kept = [i for i, file in enumerate(files) if os.path.realpath(os.path.join(folder, file)) != itself]
    if not kept:
        raise SimCLRError(f"{images.name} holds no other image than {config.photo}: name another folder.")
    others = images.subset(kept)
    h_others, h_photo = (extract_features(run.model.encoder, part) for part in (others, photo))
    similarity, rows = (found[0].cpu() for found in nearest_neighbors(h_others, h_photo, config.count))
    found = others.subset(rows)
    names = [images.names[kept[row]] for row in rows.tolist()]
    values = [f"{value:.4f}" for value in similarity.tolist()]
    table = list(zip(range(1, len(found) + 1), names, found.label_names, values, strict=True))
    write_csv(run.out / "search.csv", ("rank", "file", "label", "similarity"), table)
    captions = [" · ".join(filter(None, (name, label, value))) for _, name, label, value in table]
    write_atomically(run.out / "search.html", search_page(photo, found, captions, images.name).encode())
    for rank, name, label, value in table:
        print(f"{rank:4}  {value}  {name}  {label}".rstrip())
    print(f"table: {run.out / 'search.csv'}")
    print(f"page: {run.out / 'search.html'}")
