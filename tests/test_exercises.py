"""An exercise accepts its solution, names each known misconception, and never fails a run that skips it."""

import math
import operator
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from simclr_lib import losses as library
from simclr_lib.optim import LARS
from simclr_lib.teaching.exercises import (
    NOT_ATTEMPTED,
    RIGHT,
    Exercise,
    Misconception,
    after_simclr,
    augmentations,
    embeddings,
    linear_probe,
    nt_xent,
    own_images,
    pretraining,
    processes_and_memory,
    scaling_up,
    start_here,
    supervised_comparison,
)

ALL = {
    f"{module.__name__.rpartition('.')[2]}.{name}": exercise
    for module in (
        *(start_here, augmentations, nt_xent, pretraining, linear_probe),
        *(supervised_comparison, embeddings, own_images, scaling_up, processes_and_memory, after_simclr),
    )
    for name, exercise in module.EXERCISES.items()
}
MISTAKES = [
    pytest.param(exercise, mistake, id=f"{name}-{number}")
    for name, exercise in ALL.items()
    for number, mistake in enumerate(exercise.misconceptions)
]


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_the_solution_passes(exercise):
    assert exercise.verdict(exercise.solution) == RIGHT


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_each_misconception_gets_its_own_hint(exercise, mistake):
    assert exercise.verdict(mistake.answer) == f"✗ {mistake.hint}"


def test_every_exercise_of_a_module_is_collected_in_order():
    assert list(scaling_up.EXERCISES) == ["noise_of_an_image", "sum_of_rates", "loss_in_groups"]
    assert scaling_up.EXERCISES["sum_of_rates"] is scaling_up.sum_of_rates
    assert len(ALL) == 47
    assert len(MISTAKES) > 100


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_the_untouched_stub_is_not_attempted(exercise, capsys):
    def stub(*arguments):
        raise NotImplementedError

    exercise.check(stub)
    assert capsys.readouterr().out.strip() == NOT_ATTEMPTED


@pytest.mark.parametrize("exercise", ALL.values(), ids=ALL)
def test_an_answer_that_is_wrong_in_an_unknown_way_is_told_what_to_look_at(exercise):
    solution = exercise.solution
    assert "Not yet" in exercise.verdict(lambda *arguments: torch.as_tensor(solution(*arguments)) * 1.01 + 1)
    assert "the answer should be" in exercise.verdict(lambda *arguments: "a string")
    assert "Not yet" in exercise.verdict(lambda *arguments: None)
    assert "ZeroDivisionError" in exercise.verdict(lambda *arguments: 1 / 0)
    assert "Not yet" in exercise.verdict(lambda *arguments: torch.full((3, 2, 1), torch.nan))


def test_what_pytorch_has_not_implemented_is_not_an_untouched_stub():
    def attempt(x):
        raise NotImplementedError("\"addmm\" not implemented for 'Bool'")

    assert "addmm" in augmentations.largest_crop.verdict(lambda *arguments: attempt(*arguments[:1]))


def test_the_entry_that_differs_is_named():
    exercise = Exercise(solution=lambda x: 2 * x, cases=[(torch.arange(6.0).reshape(2, 3),)])

    def almost(x):
        y = 2 * x
        y[1, 2] = -1
        return y

    assert "entry at [1, 2] should be 10, not -1" in exercise.verdict(almost)


def test_an_answer_may_change_its_arguments_in_place():
    exercise = Exercise(
        solution=lambda x: x + 1, cases=[(torch.zeros(3),)], misconceptions=[Misconception("no", lambda x: x)]
    )
    assert exercise.verdict(lambda x: x.add_(1)) == RIGHT
    assert exercise.verdict(lambda x: x.mul_(1)) == "✗ no"


def test_an_answer_may_change_what_its_arguments_hold():
    def emptied(accuracies):
        best = max(accuracies, key=accuracies.get)
        accuracies.clear()
        return best

    exercise = Exercise(solution=lambda a: max(a, key=a.get), cases=[({1.0: 0.2, 3.0: 0.9},)])
    assert exercise.verdict(emptied) == RIGHT
    assert exercise.verdict(emptied) == RIGHT


def test_the_line_that_stopped_is_named():
    def attempt(ratio):
        width = ratio
        return width / 0

    assert "stopped in line 3 with ZeroDivisionError" in augmentations.largest_crop.verdict(attempt)
    assert "forget `return`" in augmentations.largest_crop.verdict(lambda ratio: None)


def test_right_answers_in_other_styles_are_accepted():
    def with_a_matrix(z, temperature):
        z = torch.nn.functional.normalize(torch.cat([z[::2], z[1::2]]), dim=1)
        positive = (z * (torch.eye(len(z)).double().roll(len(z) // 2, 0) @ z)).sum(1) / temperature
        others = torch.where(torch.eye(len(z)) == 1, -torch.inf, z @ z.T / temperature)
        return (others.logsumexp(1) - positive).mean()

    def image_by_image(images, factor):
        mean = augmentations.grayscale(images).mean(dim=(1, 2))
        return [(factor * x + (1 - factor) * m).clamp(0, 1) for x, m in zip(images, mean, strict=True)]

    assert nt_xent.loss.verdict(with_a_matrix) == RIGHT
    assert nt_xent.partners.verdict(lambda n: [row + 1 - 2 * (row % 2) for row in range(2 * n)]) == RIGHT
    assert augmentations.adjust_contrast.verdict(image_by_image) == RIGHT
    assert augmentations.blur_kernel_size.verdict(lambda side: max(3, side // 10 | 1)) == RIGHT
    assert (
        pretraining.last_feature_map.verdict(
            lambda side, stem: -(-side // {"cifar": 8, "fast": 16, "imagenet": 32}[stem])
        )
        == RIGHT
    )


def test_right_values_are_not_enough_where_something_else_was_asked():
    assert "should be integers" in nt_xent.partners.verdict(lambda n: (torch.arange(2 * n) ^ 1).float())

    def loss(z, temperature):
        return library.nt_xent(z[::2], z[1::2], temperature)

    assert "calls the library" in nt_xent.loss.verdict(loss)


# The page of notebook 00, filled in other styles than that of the solutions.


def in_pairs(batch, augment):
    first, second = zip(*[(augment(image), augment(image)) for image in batch], strict=True)
    return torch.stack([*first, *second])


def by_cosine_similarity(z, temperature):
    return torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=2) / temperature


def by_subtraction(logits):
    return (logits.exp().sum(1) - logits.diagonal().exp()).log()


def by_a_large_negative_number(logits):
    return (logits - 1e9 * torch.eye(len(logits))).logsumexp(1)


def in_two_halves(logits):
    n = len(logits) // 2
    return [*logits.diagonal(n), *logits.diagonal(-n)]


def clearing_afterwards(net, loss_of, optimizer, batches):
    losses = []
    for views in batches:
        loss = loss_of(net(views))
        loss.backward()
        optimizer.step()
        net.zero_grad()
        losses.append(loss.detach())
    return losses


def one_at_a_time(encoder, head, images):
    encoder.train(False)
    return torch.cat([encoder(image[None]) for image in images])


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("make_views", in_pairs),
        ("similarities", by_cosine_similarity),
        ("log_denominators", by_subtraction),
        ("log_denominators", by_a_large_negative_number),
        ("positives", in_two_halves),
        ("updates", clearing_afterwards),
        ("features", one_at_a_time),
    ],
)
def test_a_gap_of_the_page_may_be_filled_in_another_style(name, answer):
    assert start_here.EXERCISES[name].verdict(answer) == RIGHT


def test_the_page_knows_which_of_its_gaps_are_open():
    answers = {name: exercise.solution for name, exercise in start_here.EXERCISES.items()}
    assert start_here.open_gaps(answers) == []
    assert start_here.open_gaps({**answers, "updates": start_here.updates.misconceptions[0].answer}) == ["updates"]


# The exercises of notebook 10, in other styles than that of the solutions.


def number_by_number(losses):
    return [math.log(math.exp(loss) - 1) for loss in losses.tolist()]


def from_the_softmax(losses):
    positive = torch.exp(-losses)
    return torch.logit(1 - positive)


def by_probabilities(images, texts, temperature):
    cosine = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    p = torch.exp(cosine / temperature)
    right = p.diagonal()
    return -(torch.log(right / p.sum(0)).mean() + torch.log(right / p.sum(1)).mean()) / 2


def with_numpy(images, texts, temperature):
    i, t = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (images, texts))
    logits = i @ t.T / temperature
    return np.mean([np.log(np.exp(x).sum(1)) - np.diag(x) for x in (logits, logits.T)])


def by_kl_and_entropy(student, teacher, center):
    with torch.no_grad():
        p = torch.softmax((teacher - center) / 0.04, dim=-1)
    log_q = torch.log_softmax(student / 0.1, dim=-1)
    return torch.nn.functional.kl_div(log_q, p, reduction="batchmean") - (p * p.log()).sum() / len(p)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("dcl_from", number_by_number),
        ("dcl_from", from_the_softmax),
        ("clip_loss", by_probabilities),
        ("clip_loss", with_numpy),
        ("half_life", lambda momentum: 1 / math.log2(1 / momentum)),
        ("half_life", lambda momentum: np.float32(-np.log(2) / np.log(momentum))),
        ("dino_loss", by_kl_and_entropy),
    ],
)
def test_a_loss_after_simclr_may_be_written_in_another_style(name, answer):
    assert after_simclr.EXERCISES[name].verdict(answer) == RIGHT


def test_dinos_teacher_gets_no_gradient():
    def to_both(student, teacher, center):
        target = ((teacher - center) / 0.04).softmax(dim=1)
        return -(target * (student / 0.1).log_softmax(dim=1)).sum(dim=1).mean()

    assert "gradient flows into the teacher" in after_simclr.dino_loss.verdict(to_both)
    as_a_number = after_simclr.dino_loss.verdict(lambda *outputs: to_both(*outputs).item())
    assert "no gradient with respect to the student" in as_a_number


# An exercise may ask for a way, not only for a value.


def in_recorded_parts(x, w, micro, send=lambda part, w: part @ w):
    return torch.cat([send(part, w) for part in x.split(micro)])


def with_the_graph_of_all_parts(x, w, tau, micro):
    w.requires_grad_()
    z = in_recorded_parts(x, w, micro)
    return torch.autograd.grad(library.nt_xent(*z.chunk(2), tau), w)[0]


def with_checkpoints(x, w, tau, micro):
    w.requires_grad_()
    z = in_recorded_parts(x, w, micro, partial(checkpoint, torch.matmul, use_reentrant=False))
    return torch.autograd.grad(library.nt_xent(*z.chunk(2), tau), w)[0]


def with_a_second_pass(x, w, tau, micro):
    w.requires_grad_()
    z = in_recorded_parts(x, w, micro).detach().requires_grad_()
    library.nt_xent(*z.chunk(2), tau).backward()
    for part, sent in zip(x.split(micro), z.grad.split(micro), strict=True):
        (part @ w).backward(sent)
    return w.grad


def with_transformed_functions(x, w, tau, micro):
    def loss(z):
        return library.nt_xent(*z.chunk(2), tau)

    sent = torch.func.grad(loss)(in_recorded_parts(x, w, micro)).split(micro)
    return sum(
        torch.func.vjp(partial(torch.matmul, part), w)[1](of_part)[0]
        for part, of_part in zip(x.split(micro), sent, strict=True)
    )


@pytest.mark.parametrize("answer", [with_checkpoints, with_a_second_pass, with_transformed_functions])
def test_gradient_caching_may_be_written_in_another_style(answer):
    assert processes_and_memory.cached_gradient.verdict(answer) == RIGHT


def test_gradient_caching_keeps_no_graph_of_all_parts():
    verdict = processes_and_memory.cached_gradient.verdict(with_the_graph_of_all_parts)
    assert "keeps the activations of all parts" in verdict


def the_whole_matrix(z, tau, chunk):
    z = torch.nn.functional.normalize(z, dim=1)
    logits = (z @ z.T / tau).fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2))


def the_whole_matrix_in_numpy(z, tau, chunk):
    z = z.numpy() / np.linalg.norm(z, axis=1, keepdims=True)
    weights = np.exp(z @ z.T / tau)
    np.fill_diagonal(weights, 0)
    partners = np.roll(np.arange(len(z)), len(z) // 2)
    return -np.log(weights[np.arange(len(z)), partners] / weights.sum(1)).mean()


def by_the_library(z, tau, chunk):
    return library.nt_xent(*z.chunk(2), tau, chunk_size=chunk)


def the_whole_batch(x, w, tau, micro):
    w = w.clone().requires_grad_()
    library.nt_xent(*(x @ w).chunk(2), tau).backward()
    return w.grad


def the_whole_batch_by_einsum(x, w, tau, micro):
    w = w.clone().requires_grad_()
    library.nt_xent(*torch.einsum("np,pd->nd", x, w).chunk(2), tau).backward()
    return w.grad


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("chunked_loss", the_whole_matrix, "makes a tensor of 512 × 512 numbers"),
        ("chunked_loss", the_whole_matrix_in_numpy, "keeps a large part of the matrix of similarities in memory"),
        ("chunked_loss", by_the_library, "write the chunks yourself"),
        ("cached_gradient", the_whole_batch, "takes 16 rows through the network at one time"),
        ("cached_gradient", the_whole_batch_by_einsum, "takes 16 rows through the network at one time"),
    ],
)
def test_an_answer_that_ignores_how_it_should_work_is_told_so(name, answer, hint):
    assert hint in processes_and_memory.EXERCISES[name].verdict(answer)


# The exercises of notebooks 04 to 09, in other styles than that of the solutions.


def an_anchor_at_a_time(z, tau, chunk):
    z, n = torch.nn.functional.normalize(z, dim=1), len(z)
    total = 0.0
    for i in range(n):
        logits = torch.cat([z[:i], z[i + 1 :]]) @ z[i] / tau
        total += logits.logsumexp(0) - z[i] @ z[(i + n // 2) % n] / tau
    return total / n


def by_two_passes(x, w, tau, micro):
    w = w.clone().requires_grad_()
    with torch.no_grad():
        z = torch.cat([torch.mm(part, w) for part in x.split(micro)])
    z.requires_grad_()
    library.nt_xent(*z.chunk(2), tau).backward()
    for part, sent in zip(x.split(micro), z.grad.split(micro), strict=True):
        (part @ w).backward(sent)
    return w.grad


def sorted_by_hand(validation):
    best = max(validation.values())
    return sorted(strength for strength in validation if validation[strength] == best)[-1]


def emptying(validation):
    pairs = [(validation.pop(strength), strength) for strength in list(validation)]
    return max(pairs)[1]


def in_numpy(train, test):
    train, test = train.numpy(), test.numpy()
    return (test - train.mean(0)) / train.std(0)


def by_interpolation(budgets, accuracies, target):
    return float(np.exp(np.interp(target, accuracies.numpy(), np.log(budgets.numpy()))))


def by_sorting(similarity, labels, k):
    right = []
    for i, row in enumerate(similarity.tolist()):
        others = sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j])[:k]
        right.append(sum(int(labels[j] == labels[i]) for j in others) / k)
    return np.mean(right)


def with_the_law_of_cosines(similarities):
    return np.mean([1 + 1 - 2 * s for s in similarities.tolist()])


def by_deviations(gradients, batch):
    return (gradients - gradients.mean(0)).square().sum().div(len(gradients) - 1).mul(batch).sqrt().item()


def by_masking(z, tau, group):
    z, n = torch.nn.functional.normalize(z, dim=1), len(z)
    groups = (torch.arange(n // 2) // group).repeat(2)
    logits = (z @ z.T / tau).masked_fill(groups[:, None] != groups, -torch.inf).fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(n).roll(n // 2))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        (linear_probe.standardise, in_numpy),
        (linear_probe.choose_penalty, sorted_by_hand),
        (linear_probe.choose_penalty, emptying),
        (supervised_comparison.labels_for, by_interpolation),
        (embeddings.alignment_from, with_the_law_of_cosines),
        (embeddings.precision_at, by_sorting),
        (scaling_up.noise_of_an_image, by_deviations),
        (scaling_up.loss_in_groups, by_masking),
        (processes_and_memory.chunked_loss, an_anchor_at_a_time),
        (processes_and_memory.cached_gradient, by_two_passes),
    ],
)
def test_an_exercise_may_be_solved_in_another_style(exercise, answer):
    assert exercise.verdict(answer) == RIGHT


# What a learner hears who is wrong in a way that the exercise does not know.


def test_the_case_is_named_so_that_a_learner_can_repeat_it():
    def last_feature_map(side, stem):
        return side

    def standardise(train, test):
        return test + 1

    assert "Look at the case last_feature_map(32, 'cifar')." in pretraining.last_feature_map.verdict(last_feature_map)
    assert "*exercises.standardise.cases[0]" in linear_probe.standardise.verdict(standardise)


def test_a_wrong_sign_or_factor_in_every_case_is_named():
    solution = scaling_up.noise_of_an_image.solution
    assert "the sign is wrong" in scaling_up.noise_of_an_image.verdict(lambda g, batch: -solution(g, batch))
    assert "100 times what is expected" in linear_probe.chance_of_record.verdict(lambda n, p: 100 - 100 * (1 - p) ** n)


def test_only_the_first_line_of_a_long_error_is_shown():
    def attempt(train, test):
        raise TypeError("wrong arguments\n * (Tensor input)\n * (int dim)")

    assert "wrong arguments. Look" in linear_probe.standardise.verdict(attempt)


def test_what_breaks_when_the_way_is_looked_at_is_no_traceback():
    def chunked_loss(z, tau, chunk):
        if len(z) > 100:
            raise ValueError("too many")
        return processes_and_memory.chunked_loss.solution(z, tau, chunk)

    assert "ValueError: too many" in processes_and_memory.chunked_loss.verdict(chunked_loss)


# Numbers of other kinds. Each is the right answer.


def largest_with_numpy(validation):
    strengths, accuracies = (np.array([*part]) for part in (validation.keys(), validation.values()))
    return strengths[accuracies == accuracies.max()].max()


def by_squeezing(step, total, warmup, last):
    cosine = math.cos(math.pi * (step - warmup) / (total - warmup))
    return (step + 1) / warmup if step < warmup else np.interp(cosine, [-1, 1], [last, 1])


def step_by_optimizer(w, g, v, lr, momentum, weight_decay, trust):
    layer = torch.nn.Parameter(w)
    layer.grad = g
    LARS([layer], lr=lr, weight_decay=weight_decay, trust_coefficient=trust).step()  # a first step, from rest
    return layer - momentum * v


def in_place(w, g, v, lr, momentum, weight_decay, trust):
    g.add_(w, alpha=weight_decay)
    v.mul_(momentum).add_(g, alpha=float(lr * trust * w.norm() / g.norm()))
    return w.sub_(v)


def with_a_counter(labels, predicted, num_classes):
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    return max(wrong, key=wrong.count)


def halving(side, stem):
    for _ in range({"cifar": 3, "fast": 4, "imagenet": 5}[stem]):
        side = (side + 1) // 2
    return np.int64(side)


def one_by_one(variances, share):
    held, count = 0.0, 0
    for variance in sorted(variances.tolist(), reverse=True):
        held, count = held + variance, count + 1
        if held >= share * sum(variances.tolist()):
            return count


def by_pairs(similarity):
    n = len(similarity)
    return math.log(np.mean([math.exp(4 * float(similarity[i, k]) - 4) for i in range(n) for k in range(i)]))


def with_a_loop(z):
    unit, n = (z / z.norm(dim=1, keepdim=True)).tolist(), len(z)
    hits = 0
    for i, anchor in enumerate(unit):
        others = [(sum(map(operator.mul, anchor, other)), k) for k, other in enumerate(unit) if k != i]
        hits += max(others)[1] == (i + n // 2) % n
    return Fraction(hits, n)


def in_half_precision(z):
    partner = torch.nn.functional.cosine_similarity(z, z.roll(len(z) // 2, 0))
    s = torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=2) - 2 * torch.eye(len(z))
    return (s.amax(1) <= partner + 1e-9).half().mean()


def as_bytes(image, low, high):
    return np.rint(np.clip((image.numpy() - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def by_corrcoef_of_numpy(a, b):
    return np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1]


def with_bincount(predicted, labels):
    count, right = torch.bincount(labels), torch.bincount(labels, weights=(predicted == labels).double())
    return (right[count > 0] / count[count > 0]).mean()


def step_after_step(num_images, epochs, batch, lr, rule):
    rate = {"linear": lr * batch / 64, "square root": lr * (batch / 64) ** 0.5}[rule]
    return sum(rate for _ in range(epochs) for _ in range(0, num_images - batch + 1, batch))


def row_by_row(x, w, tau, micro):
    z = torch.stack([row @ w for row in x]).requires_grad_()
    library.nt_xent(*z.chunk(2), tau).backward()
    return sum(torch.outer(row, sent) for row, sent in zip(x, z.grad, strict=True))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        (pretraining.learning_rate, by_squeezing),
        (pretraining.lars_step, step_by_optimizer),
        (pretraining.lars_step, in_place),
        (pretraining.last_feature_map, halving),
        (pretraining.scaled_learning_rate, lambda lr, b, n, rule: np.float32(lr * (n / b) ** (1, 0.5)[rule == "sqrt"])),
        (linear_probe.standardise, lambda train, test: (test.float() - train.float().mean(0)) / train.std(0, False)),
        (linear_probe.choose_penalty, largest_with_numpy),
        (linear_probe.most_frequent_mistake, with_a_counter),
        (linear_probe.chance_of_record, lambda tries, p: -math.expm1(tries * math.log1p(-p))),
        (supervised_comparison.matched_epochs, lambda n, epochs, labelled: Fraction(2 * n * epochs, labelled)),
        (supervised_comparison.paired_difference, lambda a, b: [float((a - b).mean()), (a - b).std()]),
        (supervised_comparison.relative_mce, lambda a, c, b, d: np.mean((c - a.numpy()) / (d - b.numpy()))),
        (embeddings.directions_for, one_by_one),
        (embeddings.alignment_from, lambda s: (2 - 2 * s.half()).mean()),
        (embeddings.uniformity_from, by_pairs),
        (own_images.held_out, lambda scores, share: [score < share for score in scores]),
        (own_images.to_8_bits, as_bytes),
        (own_images.correlation, by_corrcoef_of_numpy),
        (own_images.balanced, with_bincount),
        (scaling_up.sum_of_rates, step_after_step),
        (processes_and_memory.num_negatives, lambda b, p, shared: torch.tensor(2.0 * b / (1 if shared else p) - 2)),
        (processes_and_memory.cached_gradient, row_by_row),
        (processes_and_memory.speed_up, lambda c, mb, p, gb: p * c / (c + 2 * (p - 1) * mb / 1000 / gb)),
        (nt_xent.contrastive_accuracy, with_a_loop),
        (nt_xent.contrastive_accuracy, in_half_precision),
    ],
)
def test_other_kinds_of_numbers_and_loops_are_right_too(exercise, answer):
    assert exercise.verdict(answer) == RIGHT
