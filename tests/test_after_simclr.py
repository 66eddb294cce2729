"""Notebook 10 swaps the loss on the page of notebook 00, and its own cells are what was measured."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from simclr_lib.authoring.after_simclr import (
    METHODS,
    UNTRAINED,
    best_of,
    losses_of,
    make_loss,
    measure,
    measure_untrained,
)
from simclr_lib.data.emblems import draw_emblems
from simclr_lib.experiments.one_page import knn_accuracy, nt_xent, spread, train
from simclr_lib.results import Result
from simclr_lib.seeding import seeded

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "10_after_simclr.ipynb"
EMBLEMS = draw_emblems(limit=64)
IMAGES = EMBLEMS.images.float() / 255
LOSSES = losses_of(NOTEBOOK)


@pytest.fixture(autouse=True)
def same_random_numbers_afterwards():
    with torch.random.fork_rng():
        yield


def embeddings(pairs=8, dims=6, seed=0):
    return torch.randn(2 * pairs, dims, generator=seeded(seed))


def page():
    """The names that SimCLR on one page defines in notebook 00, with a few emblems to train on."""
    cells = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    names = {"images": IMAGES, "labels": EMBLEMS.labels, "queries": IMAGES[:8], "query_labels": EMBLEMS.labels[:8]}
    for cell in cells:
        if "page" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


def test_the_module_trains_exactly_as_the_page_does():
    names = page()
    _, losses, accuracies = names["train"](names["nt_xent"], epochs=2)
    ours = train(nt_xent, IMAGES, epochs=2)
    assert ours.losses == pytest.approx(losses, rel=1e-5)
    assert knn_accuracy(ours.encoder, IMAGES, EMBLEMS.labels, IMAGES[:8], EMBLEMS.labels[:8]) == accuracies[-1]


def test_a_seed_decides_a_training():
    first, again, other = (train(nt_xent, IMAGES, epochs=1, seed=seed) for seed in (1, 1, 2))
    assert first.losses == pytest.approx(again.losses)
    assert first.losses != pytest.approx(other.losses)


def test_a_loss_may_have_weights_of_its_own_which_are_trained_too():
    loss = LOSSES["SimSiam"]()
    before = loss.predictor[0].weight.detach().clone()
    train(loss, IMAGES, epochs=1)
    assert not torch.equal(loss.predictor[0].weight, before)


def test_only_a_loss_that_asks_for_labels_gets_them():
    seen = []

    def loss(z, *labels):
        seen.append(labels)
        return nt_xent(z)

    train(loss, IMAGES, epochs=1)
    train(loss, IMAGES, epochs=1, labels=EMBLEMS.labels)
    without, given = seen
    assert without == ()
    assert torch.equal(given[0].sort().values, EMBLEMS.labels.sort().values)


def test_equal_embeddings_have_no_spread_and_random_directions_have_all_of_it():
    assert spread(torch.ones(6, 4)) == 0
    assert spread(torch.randn(4096, 64, generator=seeded(0))) == pytest.approx(1, abs=0.01)
    assert spread(5 * embeddings()) == pytest.approx(spread(embeddings()))


# The losses of the notebook:


@pytest.mark.parametrize("name", METHODS)
def test_every_loss_of_the_notebook_is_one_number_that_reaches_every_embedding(name):
    method = METHODS[name]
    z = embeddings(dims=128).requires_grad_()
    loss = make_loss(method, method.trials()[0], 0, LOSSES)
    value = loss(z, torch.arange(8) % 3) if method.labels else loss(z)
    (gradient,) = torch.autograd.grad(value, z)
    assert value.ndim == 0
    assert gradient.isfinite().all()
    assert (gradient.norm(dim=1) > 0).all()


def test_supcon_is_nt_xent_where_every_image_is_a_class_of_its_own():
    assert LOSSES["sup_con"](embeddings(), torch.arange(8), 0.1) == pytest.approx(nt_xent(embeddings(), 0.1))


def test_supcon_does_not_depend_on_the_names_of_the_classes():
    labels = torch.arange(8) % 3
    assert LOSSES["sup_con"](embeddings(), labels) == pytest.approx(LOSSES["sup_con"](embeddings(), 7 - labels))


def test_dcl_of_one_pair_among_two_is_nt_xent_before_its_softplus():
    z = F.normalize(embeddings(pairs=2), dim=1)
    logits = z @ z.T / 0.2
    terms = [
        torch.logsumexp(logits[i, [k for k in range(4) if k not in (i, j)]], 0) - logits[i, j]
        for i, j in ((0, 2), (1, 3), (2, 0), (3, 1))
    ]
    assert LOSSES["dcl"](z) == pytest.approx(torch.stack(terms).mean())
    assert nt_xent(z) == pytest.approx(F.softplus(torch.stack(terms)).mean())


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_losses_of_dimensions_are_content_with_equal_views_in_uncorrelated_dimensions(name):
    x, y = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    uncorrelated = torch.stack([x, y, x * y], dim=1)
    assert LOSSES[name](torch.cat([uncorrelated, uncorrelated])) == pytest.approx(0, abs=1e-4)
    assert LOSSES[name](torch.cat([uncorrelated, -uncorrelated])) > 1
    assert LOSSES[name](torch.ones(8, 3)) > 1


def test_constant_embeddings_satisfy_vicreg_only_without_its_variance_term():
    constant = torch.ones(8, 3)
    assert LOSSES["vicreg"](constant, variance=0) == 0
    assert LOSSES["vicreg"](constant) == pytest.approx(25 * 0.99)


def test_the_stop_gradient_of_simsiam_changes_the_gradient_and_not_the_loss():
    values, gradients = [], []
    for stop in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            loss = LOSSES["SimSiam"](stop_gradient=stop)
        z = embeddings(dims=128).requires_grad_()
        values.append(loss(z).item())
        gradients.append(torch.autograd.grad(loss(z), z)[0])
    assert values[0] == pytest.approx(values[1])
    assert not torch.allclose(*gradients)


# The comparison:


def test_weights_of_a_loss_depend_on_the_seed():
    method, settings = METHODS["SimSiam"], {"lr": 0.002, "width": 32}
    first, again, other = (make_loss(method, settings, seed, LOSSES) for seed in (0, 0, 1))
    assert isinstance(first, nn.Module)
    assert torch.equal(first.predictor[0].weight, again.predictor[0].weight)
    assert not torch.equal(first.predictor[0].weight, other.predictor[0].weight)


def test_a_loss_is_measured_on_the_images_that_are_asked():
    accuracy, width = measure("DCL", {"lr": 0.002, "temperature": 0.2}, 0, 1, EMBLEMS, EMBLEMS)
    untrained, _ = measure_untrained(0, EMBLEMS, EMBLEMS)
    assert 0 <= accuracy <= 1
    assert 0 <= untrained <= 1
    assert 0 < width < 1.5


def test_every_loss_had_the_same_number_of_trials_and_the_best_one_was_used():
    file = Result.read(ROOT / "notebooks" / "results" / "after-simclr.json")
    assert list(file.seeds) == [0, 1, 2]
    assert set(file.results) == {UNTRAINED, *file.extra["search"]}
    for name, search in file.extra["search"].items():
        method = METHODS[name]
        assert [
            {key: value for key, value in trial.items() if key != "accuracy"} for trial in search
        ] == method.trials()
        assert file.extra["settings"][name] == best_of(search)
        assert len(file.results[name]["knn"]["values"]) == 3


def test_the_test_images_had_no_part_in_the_search():
    file = Result.read(ROOT / "notebooks" / "results" / "after-simclr.json")
    assert (file.num_train, file.extra["num_held_out"], file.num_test) == (2048, 1024, 2048)
