"""The film of a run becomes one picture, or a moving one."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

from simclr_lib import load_dataset
from simclr_lib.authoring import film
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import Film, make_film
from simclr_lib.seeding import seeded
from simclr_lib.teaching import moving
from simclr_lib.training import pretrain


def test_moments_of_a_film_are_drawn_side_by_side(tmp_path, monkeypatch):
    drawn = []

    def make(name, frames):
        drawn.extend(frames)
        return make_film(name, frames, method="pca")  # UMAP would take longer

    monkeypatch.setattr(film, "make_film", make)
    filmed = load_dataset("emblems", "test", limit=30)
    pretrain(load_dataset("emblems", limit=60), TINY, tmp_path / "run", filmed=filmed)
    film.draw_film(tmp_path / "run", filmed, tmp_path / "film.png")
    assert drawn == ["epoch 0", "epoch 1", "epoch 2"]
    assert (tmp_path / "film.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SimCLRError, match="has no film of emblems"):
        film.draw_film(tmp_path / "run", load_dataset("emblems", "test", limit=20), tmp_path / "other.png")


def test_points_move_from_one_moment_to_the_next():
    start, end = torch.zeros(5, 2), torch.ones(5, 2)
    pictures = list(moving.in_motion(Film("h", ["epoch 0", "epoch 1"], torch.stack([start, end]))))
    assert [caption for caption, *_ in pictures] == ["epoch 0"] * moving.STEPS + ["epoch 1"]
    assert [points[0, 0].item() for _, points, _ in pictures] == [0, 0.25, 0.5, 0.75, 1]
    assert [duration for *_, duration in pictures] == [moving.REST, *[moving.STEP] * (moving.STEPS - 1), moving.REST]


def test_the_moving_picture_plays_and_then_rests(tmp_path, monkeypatch):
    frames = {f"epoch {seed}": torch.randn(30, 4, generator=seeded(seed)) for seed in (0, 1)}
    monkeypatch.setattr(film, "frames_of", lambda run, filmed: frames)
    monkeypatch.setattr(film, "make_film", lambda name, frames: make_film(name, frames, method="pca"))
    film.draw_moving_film(tmp_path, load_dataset("emblems", "test", limit=30), tmp_path / "film.webp")
    with Image.open(tmp_path / "film.webp") as picture:
        assert picture.n_frames == moving.STEPS + 1
        assert picture.info["loop"] == moving.PLAYS


def test_a_gif_of_the_film_shows_the_points_where_they_are(tmp_path):
    """One point in the lower left corner moves to the upper right one, between two others that stay there."""
    corners = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    moved = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    labels = torch.tensor([-1, 0, -1])
    content = moving.moving_picture(Film("h", ["before", "after"], torch.stack([corners, moved])), labels, ["a"])
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "GIF"
        places = []
        for frame in (0, picture.n_frames - 1):
            picture.seek(frame)
            pixels = torch.tensor(np.array(picture.convert("RGB")).astype(int))
            assert pixels[0, 0].tolist() == [255, 255, 255]  # white stays white
            blue = ((pixels[..., 2] - pixels[..., 0]) > 60)[: pixels.shape[0] * 9 // 10]  # without the legend
            blue = blue.nonzero().float()
            places.append(blue.mean(dim=0))
    (row, column), (last_row, last_column) = places
    assert last_row < row - 50
    assert last_column > column + 50
