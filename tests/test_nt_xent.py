"""NT-Xent is algorithm 1 of the paper: its value, its gradient, at every precision and temperature."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simclr_lib.errors import SimCLRError
from simclr_lib.losses import nt_xent, partner_cross_entropy
from simclr_lib.teaching.memory import peak_bytes

TEMPERATURES = (0.005, 0.05, 0.1, 0.5, 1.0, 10.0)


def embeddings(n, dim=8, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, dim, generator=generator, dtype=dtype).unbind()


def algorithm_1(z_a, z_b, temperature):
    """The paper's algorithm 1, line by line, with Python's own floats."""
    z = [row for pair in zip(z_a.tolist(), z_b.tolist(), strict=True) for row in pair]  # views 2k and 2k + 1

    def s(i, j):
        dot = sum(x * y for x, y in zip(z[i], z[j], strict=True))
        return dot / (math.hypot(*z[i]) * math.hypot(*z[j]))

    def loss(i, j):
        others = [math.exp(s(i, k) / temperature) for k in range(len(z)) if k != i]
        return -math.log(math.exp(s(i, j) / temperature) / math.fsum(others))

    n = len(z) // 2
    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(n)) / (2 * n)


def gradient_by_hand(z_a, z_b, temperature):
    """dL/dz. With u = z / ‖z‖, S = u uᵀ, P the softmax over the others and Y the partners' one-hot rows:

    dL/dS = (P − Y) / (2 N τ),  dL/du = (dL/dS + dL/dSᵀ) u,  dL/dz = (dL/du − u (u · dL/du)) / ‖z‖.
    """
    n = len(z_a)
    z = torch.cat([z_a, z_b])
    length = z.norm(dim=1, keepdim=True)
    u = z / length
    itself = torch.eye(2 * n, dtype=torch.bool)
    p = (u @ u.T / temperature).masked_fill(itself, -torch.inf).softmax(dim=1)
    y = torch.eye(2 * n, dtype=z.dtype).roll(n, dims=1)
    d_similarity = (p - y) / (2 * n * temperature)
    d_u = (d_similarity + d_similarity.T) @ u
    return ((d_u - u * (u * d_u).sum(dim=1, keepdim=True)) / length).chunk(2)


@given(
    n=st.integers(1, 6),
    dim=st.integers(2, 9),
    temperature=st.sampled_from(TEMPERATURES),
    seed=st.integers(0, 10_000),
)
def test_loss_is_algorithm_1(n, dim, temperature, seed):
    z_a, z_b = embeddings(n, dim, seed)
    expected = algorithm_1(z_a, z_b, temperature)
    assert nt_xent(z_a, z_b, temperature).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_loss_is_the_mean_over_all_2n_anchors_and_not_twice_that():
    z_a, z_b = embeddings(4)
    n = len(z_a)
    u = torch.nn.functional.normalize(torch.cat([z_a, z_b]), dim=1)
    per_anchor = [
        torch.logsumexp(torch.cat([u[:i], u[i + 1 :]]) @ u[i] / 0.5, 0) - u[i] @ u[(i + n) % (2 * n)] / 0.5
        for i in range(2 * n)
    ]
    assert nt_xent(z_a, z_b, 0.5).item() == pytest.approx(torch.stack(per_anchor).mean().item(), rel=1e-12)


def test_batch_size_is_read_from_the_tensors():
    for n in (8, 3, 5):  # a smaller last batch, and then another
        z_a, z_b = embeddings(n)
        assert nt_xent(z_a, z_b).item() == pytest.approx(algorithm_1(z_a, z_b, 0.5), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_loss_is_log_2n_minus_1_when_all_embeddings_coincide(n):
    same = torch.ones(n, 5)
    assert nt_xent(same, same, 0.07).item() == pytest.approx(math.log(2 * n - 1), abs=1e-5)


def test_loss_is_log_2n_minus_1_at_infinite_temperature():
    z_a, z_b = embeddings(6)
    assert nt_xent(z_a, z_b, 1e12).item() == pytest.approx(math.log(11), rel=1e-9)


def test_one_pair_has_no_negatives_and_so_no_loss():
    z_a, z_b = embeddings(1)
    assert nt_xent(z_a, z_b).item() == 0


def test_loss_of_zero_embeddings_is_that_of_coinciding_ones():
    assert nt_xent(torch.zeros(4, 3), torch.zeros(4, 3)).item() == pytest.approx(math.log(7), rel=1e-6)


@given(n=st.integers(2, 8), temperature=st.sampled_from(TEMPERATURES), seed=st.integers(0, 10_000))
def test_loss_is_never_below_that_of_pairs_on_a_simplex(n, temperature, seed):
    # Jensen twice: the mean of s(negative) − s(positive) is at least −N / (N − 1).
    bound = math.log1p((2 * n - 2) * math.exp(-n / ((n - 1) * temperature)))
    assert nt_xent(*embeddings(n, seed=seed), temperature).item() >= bound - 1e-12


@pytest.mark.parametrize("n", [2, 3, 8])
def test_pairs_on_a_simplex_reach_the_lowest_loss(n):
    simplex = torch.eye(n, dtype=torch.float64) - 1 / n
    lowest = math.log1p((2 * n - 2) * math.exp(-n / ((n - 1) * 0.5)))
    assert nt_xent(simplex, simplex, 0.5).item() == pytest.approx(lowest, rel=1e-9)


@given(n=st.integers(2, 8), seed=st.integers(0, 10_000))
def test_order_of_the_images_does_not_matter(n, seed):
    z_a, z_b = embeddings(n, seed=seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(nt_xent(z_a[order], z_b[order]), nt_xent(z_a, z_b))


@given(n=st.integers(2, 8), seed=st.integers(0, 10_000))
def test_which_view_comes_first_does_not_matter(n, seed):
    z_a, z_b = embeddings(n, seed=seed)
    torch.testing.assert_close(nt_xent(z_b, z_a), nt_xent(z_a, z_b))


@given(n=st.integers(2, 8), seed=st.integers(0, 10_000))
def test_lengths_of_the_embeddings_do_not_matter(n, seed):
    z_a, z_b = embeddings(n, seed=seed)
    lengths = torch.logspace(-3, 3, n, dtype=torch.float64)[:, None]
    torch.testing.assert_close(nt_xent(z_a * lengths, z_b / lengths), nt_xent(z_a, z_b))


def test_who_is_whose_partner_does_matter():
    z_a, _ = embeddings(6)
    assert nt_xent(z_a, z_a).item() < nt_xent(z_a, z_a.roll(1, dims=0)).item() - 0.5


def test_self_similarity_is_masked_at_any_temperature():
    # A mask of −1e9 instead of −∞ would lie above these logits of −1e10.
    z = torch.tensor([[1.0, 0.0]])
    assert nt_xent(z, -z, 1e-10).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_half_precision_embeddings_are_compared_in_float32(dtype, temperature):
    z_a, z_b = (z.to(dtype) for z in embeddings(16, dtype=torch.float32))
    loss = nt_xent(z_a, z_b, temperature)
    assert loss.dtype == torch.float32
    assert loss.item() == nt_xent(z_a.float(), z_b.float(), temperature).item()
    assert loss.item() == pytest.approx(algorithm_1(z_a, z_b, temperature), rel=1e-4, abs=1e-5)


def test_long_float16_embeddings_do_not_overflow():
    z_a, z_b = ((1000 * z).half() for z in embeddings(4, dim=64, dtype=torch.float32))  # ‖z‖² is above 65,504
    assert nt_xent(z_a, z_b).item() == pytest.approx(algorithm_1(z_a, z_b, 0.5), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.005, 0.5])
def test_loss_is_float32_under_autocast(temperature):
    z_a, z_b = embeddings(16, dtype=torch.float32)
    rounded_a, rounded_b = z_a.bfloat16(), z_b.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(rounded_a, rounded_b, temperature)
        loss_of_float32 = nt_xent(z_a, z_b, temperature)
    assert loss.dtype == loss_of_float32.dtype == torch.float32
    assert loss.item() == nt_xent(rounded_a.float(), rounded_b.float(), temperature).item()
    assert loss_of_float32.item() == nt_xent(z_a, z_b, temperature).item()


def test_gradient_is_float32_under_autocast():
    z_a, z_b = (z.requires_grad_() for z in embeddings(16, dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(z_a, z_b, 0.05)
    under_autocast = torch.autograd.grad(loss, [z_a, z_b])
    in_float32 = torch.autograd.grad(nt_xent(z_a, z_b, 0.05), [z_a, z_b])
    torch.testing.assert_close(under_autocast, in_float32, rtol=1e-6, atol=1e-8)


def test_lowest_temperature_overflows_neither_loss_nor_gradient():
    z_a, _ = embeddings(32, dtype=torch.float32)
    z_a.requires_grad_()
    z_b = -z_a.detach()  # every partner is as far as can be: logits of −200 against up to 200
    loss = nt_xent(z_a, z_b, 0.005)
    loss.backward()
    assert loss.item() == pytest.approx(algorithm_1(z_a, z_b, 0.005), rel=1e-5)
    assert z_a.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_gradient_by_hand_is_autograd_is_finite_differences(n, temperature):
    z_a, z_b = (z.requires_grad_() for z in embeddings(n, dim=4, seed=n))
    by_hand = gradient_by_hand(z_a.detach(), z_b.detach(), temperature)
    by_autograd = torch.autograd.grad(nt_xent(z_a, z_b, temperature), [z_a, z_b])
    torch.testing.assert_close(by_autograd, by_hand, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, temperature), [z_a, z_b])


def test_gradient_is_orthogonal_to_the_embedding():
    z_a, z_b = (z.requires_grad_() for z in embeddings(5))
    grad_a, _ = torch.autograd.grad(nt_xent(z_a, z_b), [z_a, z_b])
    assert grad_a.norm() > 1e-3
    torch.testing.assert_close((z_a * grad_a).sum(dim=1), torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((4, 8), (3, 8)), ((4, 8), (4, 7)), ((4,), (4,)), ((0, 8), (0, 8)), ((4, 0), (4, 0)), ((2, 4, 8), (2, 4, 8))],
)
def test_embeddings_of_other_shapes_are_refused(shape_a, shape_b):
    with pytest.raises(SimCLRError, match=r"\[N, D\]"):
        nt_xent(torch.zeros(shape_a), torch.zeros(shape_b))


@pytest.mark.parametrize(
    ("z", "found"),
    [
        (torch.ones(4, 8, dtype=torch.int64), "torch.int64"),
        (torch.ones(4, 8, dtype=torch.bool), "torch.bool"),
        (torch.ones(4, 8, dtype=torch.complex64), "torch.complex64"),
        (np.ones((4, 8), dtype=np.float32), "numpy.ndarray"),
        ([[1.0, 2.0]], "list"),
    ],
)
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_what_is_no_floating_point_tensor_is_refused_by_name(z, found, chunk_size):
    with pytest.raises(SimCLRError, match=f"floating-point tensors, not {found}"):
        nt_xent(torch.ones(4, 8), z, chunk_size=chunk_size)


@pytest.mark.parametrize("temperature", [0.0, -0.5, math.nan])
def test_temperature_must_be_above_0(temperature):
    with pytest.raises(SimCLRError, match="temperature must be above 0"):
        nt_xent(*embeddings(4), temperature)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_loss_is_lightlys(temperature):
    loss = pytest.importorskip("lightly.loss")
    z_a, z_b = embeddings(12, dtype=torch.float32)
    expected = loss.NTXentLoss(temperature)(z_a, z_b)
    torch.testing.assert_close(nt_xent(z_a, z_b, temperature), expected, rtol=1e-5, atol=1e-6)


# --- in chunks


@given(
    n=st.integers(1, 9),
    chunk_size=st.integers(1, 20),
    temperature=st.sampled_from(TEMPERATURES),
    seed=st.integers(0, 99),
)
def test_chunks_change_neither_loss_nor_gradient(n, chunk_size, temperature, seed):
    whole = [z.requires_grad_() for z in embeddings(n, seed=seed)]
    parts = [z.detach().clone().requires_grad_() for z in whole]
    loss, chunked = nt_xent(*whole, temperature), nt_xent(*parts, temperature, chunk_size=chunk_size)
    torch.testing.assert_close(chunked, loss, rtol=1e-10, atol=1e-12)
    (3 * loss).backward()
    (3 * chunked).backward()
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_the_gradient_of_chunks_is_that_of_finite_differences():
    z_a, z_b = (z.requires_grad_() for z in embeddings(3, dim=4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, chunk_size=2), (z_a, z_b))


def test_chunks_need_memory_for_a_chunk_only():
    def peak(chunk_size):
        z_a, z_b = (z.requires_grad_() for z in embeddings(512, dtype=torch.float32))
        return peak_bytes(lambda: nt_xent(z_a, z_b, chunk_size=chunk_size).backward())

    all_similarities = 4 * 1024 * 1024  # bytes
    assert peak(None) > all_similarities
    assert peak(32) < all_similarities / 4


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.01])
def test_chunks_round_no_worse_than_the_whole(temperature):
    whole, chunked = [], []
    for seed in range(20):
        z_a, noise = embeddings(64, dim=32, seed=seed)
        z_a, z_b = z_a.float(), (z_a + 0.3 * noise).float()
        truth = nt_xent(z_a.double(), z_b.double(), temperature).item()
        whole.append(abs(nt_xent(z_a, z_b, temperature).item() - truth))
        chunked.append(abs(nt_xent(z_a, z_b, temperature, chunk_size=7).item() - truth))
    assert max(whole) < 1e-5
    assert sum(chunked) < 2 * sum(whole)


def hessian_vector_product(z_a, z_b, chunk_size):
    z_a = z_a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nt_xent(z_a, z_b, 0.3, chunk_size), z_a, create_graph=True)
    return torch.autograd.grad((gradient * z_b).sum(), z_a)[0]


def gradient_of_a_gradient_penalty(z_a, z_b, chunk_size):
    weight = torch.eye(8, dtype=z_a.dtype, requires_grad=True)
    z_a = z_a.clone().requires_grad_()
    loss = nt_xent(z_a @ weight, z_b @ weight, 0.3, chunk_size)
    (gradient,) = torch.autograd.grad(loss, z_a, create_graph=True)
    return torch.autograd.grad(loss + gradient.square().sum(), weight)[0]


def hessian_by_torch_func(z_a, z_b, chunk_size):
    gradient = torch.func.jacrev(lambda z: nt_xent(z, z_b, 0.3, chunk_size))
    return torch.func.jacrev(gradient)(z_a)


def hessian_in_forward_mode(z_a, z_b, chunk_size):
    return torch.func.hessian(lambda z: nt_xent(z, z_b, 0.3, chunk_size))(z_a)


@pytest.mark.parametrize(
    "second_derivative",
    [hessian_vector_product, gradient_of_a_gradient_penalty, hessian_by_torch_func, hessian_in_forward_mode],
)
def test_a_second_derivative_of_chunks_is_refused_rather_than_wrong(second_derivative):
    z_a, z_b = embeddings(5)
    assert second_derivative(z_a, z_b, None).abs().max() > 1e-3
    with pytest.raises(SimCLRError, match="use chunk_size=None"):
        second_derivative(z_a, z_b, 3)


def test_forward_mode_of_chunks_is_refused_by_name():
    z_a, z_b = embeddings(5)

    def slope(chunk_size):
        return torch.func.jvp(lambda z: nt_xent(z, z_b, 0.3, chunk_size), (z_a,), (z_b,))[1]

    assert slope(None).abs() > 1e-3
    with pytest.raises(SimCLRError, match=r"forward mode \(torch\.func\.jvp\), use chunk_size=None"):
        slope(3)


def test_a_second_derivative_is_that_of_finite_differences():
    z_a, z_b = (z.requires_grad_() for z in embeddings(3, dim=4))
    assert torch.autograd.gradgradcheck(lambda a, b: nt_xent(a, b, 0.3), (z_a, z_b))


@pytest.mark.parametrize(
    "transformed",
    [
        lambda loss, z_a, z_b: torch.func.grad(loss)(z_a[0], z_b[0]),
        lambda loss, z_a, z_b: torch.vmap(loss)(z_a, z_b),
        lambda loss, z_a, z_b: torch.vmap(loss, in_dims=(0, None))(z_a, z_b[0]),
        lambda loss, z_a, z_b: torch.vmap(torch.func.grad(loss))(z_a, z_b),
        lambda loss, z_a, z_b: torch.func.grad(lambda z: torch.vmap(loss)(z, z_b).sum())(z_a),
    ],
    ids=["grad", "vmap", "vmap over one side", "vmap of grad", "grad of vmap"],
)
def test_chunks_can_be_transformed_by_torch_func(transformed):
    z_a, z_b = (z.view(3, 5, 8) for z in embeddings(15))
    whole = transformed(lambda a, b: nt_xent(a, b, 0.3), z_a, z_b)
    chunked = transformed(lambda a, b: nt_xent(a, b, 0.3, chunk_size=4), z_a, z_b)
    torch.testing.assert_close(chunked, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_temperature_can_be_learned(chunk_size):
    def loss(temperature):
        return nt_xent(*embeddings(5), temperature, chunk_size)

    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, temperature)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_without_gradients_the_loss_is_the_same(chunk_size):
    z_a, z_b = (z.requires_grad_() for z in embeddings(5))
    with torch.no_grad():
        loss = nt_xent(z_a, z_b, chunk_size=chunk_size)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, nt_xent(z_a, z_b), rtol=1e-12, atol=0)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_anchors_compare_themselves_with_all_candidates_from_their_own_rows_on(chunk_size):
    candidates = torch.nn.functional.normalize(torch.cat(embeddings(6)), dim=1)  # of two processes, 3 pairs each
    anchors, offset = candidates[6:], 6
    similarity = anchors @ candidates.T / 0.2
    expected = [
        similarity[i].exp().sum().sub(similarity[i, offset + i].exp()).log() - similarity[i, offset + (i + 3) % 6]
        for i in range(6)
    ]
    loss = partner_cross_entropy(anchors, candidates, offset, 0.2, chunk_size)
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-12)


def test_chunks_compute_in_float32_under_autocast():
    z_a, z_b = embeddings(8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chunked = nt_xent(z_a, z_b, 0.05, chunk_size=3)
    assert chunked.dtype == torch.float32
    torch.testing.assert_close(chunked, nt_xent(z_a, z_b, 0.05))


def test_a_chunk_of_no_anchors_is_refused():
    with pytest.raises(SimCLRError, match="chunk_size must be at least 1"):
        nt_xent(*embeddings(2), chunk_size=0)


def test_a_chunk_is_a_whole_number_of_anchors():
    with pytest.raises(SimCLRError, match=r"chunk_size must be a whole number, not 2\.5"):
        nt_xent(*embeddings(2), chunk_size=2.5)


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_give_a_loss_that_is_not(value, chunk_size):
    z_a, z_b = embeddings(3)
    z_a[1, 2] = value
    assert nt_xent(z_a, z_b, chunk_size=chunk_size).isnan()
