"""The embedding explorer's data: true neighbours, honest figures, and a clear word for what cannot be shown."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import make_film
from simclr_lib.seeding import seeded
from simclr_lib.teaching.explorer import Explorer, conclusion_of, html_page, make_scene


def random_features(count, dim=8, seed=0):
    return torch.randn(count, dim, generator=seeded(seed))


def numbers(data, dtype):
    return torch.from_numpy(np.frombuffer(data, dtype).copy())


def loaded_from_elsewhere(page):
    """Find what a page loads that does not lie in it. A link to read on is none of it."""
    page = re.sub(r'<a href="https://[^"]*">', "", page)
    return re.findall(r"""(?:src|href)=(?!"data:)[^ >]*|@import|\burl\(|https?://""", page)


def random_images(count, *shape, classes=3):
    images = torch.randint(256, (count, 3, *shape), generator=seeded(0), dtype=torch.uint8)
    return ImageDataset(images, torch.arange(count) % classes, [f"class {i}" for i in range(classes)])


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", "test", limit=60)


def test_neighbours_are_those_of_the_features_not_of_the_picture(emblems):
    h = random_features(60)
    (view,) = make_scene(emblems, {"h": h}, method="pca")["views"]
    similarity = F.normalize(h, dim=1) @ F.normalize(h, dim=1).T
    similarity.fill_diagonal_(-1)
    best = similarity.topk(10, dim=1)
    assert torch.equal(numbers(view["neighbors"], "<i4").view(60, 10).long(), best.indices)
    torch.testing.assert_close(numbers(view["similarity"], "<f4").view(60, 10), best.values)


def test_the_overlap_is_one_where_the_picture_is_the_features_and_chance_where_it_is_noise(emblems):
    angle = torch.linspace(0, 3, 60)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    (faithful,) = make_scene(emblems, {"h": circle}, pictures={"h": circle})["views"]
    (noise,) = make_scene(emblems, {"h": circle}, pictures={"h": random_features(60, 2)})["views"]
    assert faithful["overlap"] == 1
    assert faithful["trustworthiness"] == pytest.approx(1, abs=1e-3)
    assert noise["overlap"] == pytest.approx(10 / 59, abs=0.08)
    assert noise["trustworthiness"] < 0.7


def test_what_the_neighbours_say_leaves_the_image_itself_out():
    data = random_images(12, 8, 8, classes=2)
    h = F.one_hot(data.labels, 2).float() + 0.01 * random_features(12, 2)
    data = ImageDataset(data.images, torch.cat([1 - data.labels[:1], data.labels[1:]]), data.classes)  # one wrong label
    (view,) = make_scene(data, {"h": h}, method="pca")["views"]
    votes = numbers(view["predicted"], "<i2").view(12)
    assert votes[0] != data.labels[0]


def test_the_conclusion_says_for_how_many_images_the_vote_is_right(emblems):
    scene = make_scene(emblems, {"h": random_features(60)}, method="pca")
    right = numbers(scene["views"][0]["predicted"], "<i2") == emblems.labels
    assert conclusion_of(scene) == (
        f"For {100 * right.float().mean():.0f} % of these images, a vote of the 10 nearest neighbours by h gives the "
        "right class."
    )


def test_images_without_a_label_have_no_vote_and_equal_votes_go_to_the_nearer():
    data = random_images(4, 8, 8, classes=2)
    angle = torch.tensor([0.0, 0.1, 0.3, 0.5])
    h = torch.stack([angle.cos(), angle.sin()], dim=1)

    def vote_on_the_first(*labels):
        scene = make_scene(ImageDataset(data.images, torch.tensor(labels), ["a", "b"]), {"h": h}, method="pca")
        return numbers(scene["views"][0]["predicted"], "<i2")[0]

    assert vote_on_the_first(0, 1, 0, -1) == 1  # one vote each: the nearer wins
    assert vote_on_the_first(0, -1, -1, 1) == 1
    assert vote_on_the_first(0, -1, -1, -1) == -1


def test_points_fill_the_square_from_minus_one_to_one(emblems):
    (view,) = make_scene(emblems, {"h": random_features(60)}, pictures={"h": 50 + 7 * random_features(60, 2)})["views"]
    points = numbers(view["points"], "<f4").view(60, 2)
    assert points.abs().max() == pytest.approx(1)
    torch.testing.assert_close(points.amax(dim=0), -points.amin(dim=0))


def test_the_pictures_lie_in_the_sprite_row_by_row(emblems):
    scene = make_scene(emblems, {"h": random_features(60)}, method="pca")
    sheet = torch.from_numpy(np.array(Image.open(io.BytesIO(scene["sprite"])))).permute(2, 0, 1).float()
    side, columns = scene["side"], scene["columns"]
    for row in (0, columns - 1, columns, 59):
        top, left = row // columns * side, row % columns * side
        shown = sheet[:, top : top + side, left : left + side]
        assert (shown - emblems.images[row]).abs().mean() < 6  # JPEG is not exact


@pytest.mark.parametrize("shape", [(96, 96), (40, 96), (7, 7)], ids=str)
def test_images_of_any_shape_become_thumbnails(shape):
    scene = make_scene(random_images(5, *shape), {"h": random_features(5)}, method="pca")
    assert scene["side"] == min(48, max(shape))


@pytest.mark.parametrize("count", [1, 2, 3, pytest.param(4, marks=pytest.mark.slow)])  # umap compiles first
def test_a_few_points_are_a_picture_too(count):
    scene = make_scene(random_images(count, 8, 8, classes=1), {"h": random_features(count)}, method="umap")
    points = numbers(scene["views"][0]["points"], "<f4")
    assert points.isfinite().all()
    assert scene["views"][0]["k"] == count - 1
    assert "class 0" in html_page(scene)


@pytest.mark.slow
def test_equal_features_are_a_picture_too():
    scene = make_scene(random_images(30, 8, 8), {"h": torch.ones(30, 4)}, method="umap")
    assert numbers(scene["views"][0]["points"], "<f4").isfinite().all()


def test_two_hundred_classes_and_images_without_a_class_are_told_apart():
    data = random_images(400, 8, 8, classes=200)
    data = ImageDataset(data.images, torch.where(torch.arange(400) < 5, -1, data.labels), data.classes)
    scene = make_scene(data, {"h": random_features(400)}, method="pca")
    assert numbers(scene["labels"], "<i2").tolist() == data.labels.tolist()


def test_what_cannot_be_shown_is_said():
    data = random_images(6, 8, 8)
    h = random_features(6)
    with pytest.raises(SimCLRError, match="2 features are not finite, the first in row 1"):
        make_scene(data, {"h": torch.where(torch.tensor([0, 1, 0, 0, 1, 0])[:, None] == 1, torch.nan, h)})
    with pytest.raises(SimCLRError, match=r"must be \[6, D\]"):
        make_scene(data, {"h": h[:5]})
    with pytest.raises(SimCLRError, match="at least one image"):
        make_scene(data.subset(torch.arange(0)), {"h": h[:0]})
    many = ImageDataset(
        torch.zeros(1, 3, 48, 48, dtype=torch.uint8).expand(30_000, 3, 48, 48), torch.zeros(30_000).long(), ["a"]
    )
    with pytest.raises(SimCLRError, match="at most 28,900 images of 48 pixels"):
        make_scene(many, {"h": torch.zeros(30_000, 2)})
    with pytest.raises(SimCLRError, match="finite numbers"):
        make_scene(data, {"h": h}, method="pca", metric=("loss", torch.full((6,), torch.nan)))
    with pytest.raises(SimCLRError, match="film"):
        make_scene(data, {"h": h}, method="pca", film=make_film("z", {"epoch 0": h, "epoch 1": h}, method="pca"))


def test_the_page_needs_no_network_and_no_text_can_end_its_script(emblems):
    evil = ImageDataset(
        emblems.images, emblems.labels, ["</script><script>alert(1)</script><!--<script>", *emblems.classes[1:]]
    )
    page = html_page(make_scene(evil, {"h": random_features(60)}, method="pca", title="<b>"))
    assert page.count("</script>") == 2
    assert loaded_from_elsewhere(page) == []
    assert "<h1>&lt;b&gt;: images as a neural network sees them</h1>" in page
    data = re.search(r'-scene">(.*?)</script>', page, flags=re.DOTALL).group(1)
    assert json.loads(data)["classes"] == evil.classes


def test_names_with_undecodable_bytes_make_a_valid_page_and_a_valid_widget(emblems):
    damaged = "caf\udce9"  # Python's name for the bytes b"caf\xe9", which are not UTF-8
    h = random_features(60)
    data = ImageDataset(emblems.images, emblems.labels, [damaged, "猫", "$x_1$", *emblems.classes[3:]], name=damaged)
    film = make_film(damaged, {damaged: h, "epoch 1": h}, method="pca")
    explorer = Explorer(data, {damaged: h}, method="pca", film=film, metric=(damaged, h.norm(dim=1)))
    json.dumps({key: value for key, value in explorer.scene.items() if not isinstance(value, bytes)}, default=repr)
    page = html_page(explorer.scene).encode().decode()
    scene = json.loads(re.search(r'-scene">(.*?)</script>', page, flags=re.DOTALL).group(1))
    assert scene["classes"][:3] == ["caf\ufffd", "猫", "$x_1$"]
    assert scene["film"]["view"] == scene["views"][0]["name"] == scene["metric"]["name"] == "caf\ufffd"
    assert "<h1>caf\ufffd: images as" in page


def test_the_colours_of_a_metric_span_its_middle_range_so_that_an_outlier_does_not_take_them_all(emblems):
    norms = random_features(60).norm(dim=1)
    norms[7] = 1000.0
    metric = make_scene(emblems, {"h": random_features(60)}, method="pca", metric=("norm", norms))["metric"]
    assert metric["name"] == "norm"
    assert (metric["low"], metric["high"]) == pytest.approx(np.quantile(norms.double(), [0.05, 0.95]))
    assert torch.equal(numbers(metric["values"], "<f4"), norms)


def test_five_thousand_points_stay_below_fifteen_megabytes():
    data = load_dataset("emblems", "test", limit=1250)
    sources = {name: random_features(1250, seed=i) for i, name in enumerate(("h", "z", "pixels", "random encoder"))}
    pictures = {name: features[:, :2] for name, features in sources.items()}
    # Four times as many points take at most four times the space, and sixteen times the time.
    assert 4 * len(html_page(make_scene(data, sources, pictures=pictures)).encode()) < 15e6


def test_the_widget_takes_and_gives_selections_and_saves_itself(emblems, tmp_path):
    explorer = Explorer(emblems, {"h": random_features(60)}, method="pca")
    explorer.selected = [3, 5]
    assert explorer.get_state(["selected"]) == {"selected": [3, 5]}
    explorer.save(tmp_path / "deep" / "explorer.html")
    assert "mount(" in (tmp_path / "deep" / "explorer.html").read_text()


def test_the_frames_of_a_film_are_turned_onto_each_other():
    h = random_features(40, 5)
    turn = torch.linalg.qr(random_features(5, 5, seed=1)).Q
    film = make_film("h", {"epoch 0": h @ turn, "epoch 1": h}, method="pca")
    torch.testing.assert_close(film.points[0], film.points[1], atol=1e-4, rtol=0)  # the same shape, turned
    assert film.captions == ["epoch 0", "epoch 1"]
    last = random_features(40, 2)
    assert torch.equal(make_film("h", {"a": h, "b": h}, last=last, method="pca").points[1], last)
