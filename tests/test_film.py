"""The film of a run becomes one picture."""

import pytest
from tiny import TINY

from simclr_lib import load_dataset
from simclr_lib.authoring import film
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import make_film
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
