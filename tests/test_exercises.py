"""An exercise accepts its solution, names each known misconception, and never fails a run that skips it."""

import pytest
import torch

from simclr_lib.teaching.exercises import (
    NOT_ATTEMPTED,
    RIGHT,
    Exercise,
    Misconception,
    augmentations,
    embeddings,
    linear_probe,
    nt_xent,
    own_images,
    pretraining,
    scaling_up,
    supervised_comparison,
)

ALL = {
    f"{module.__name__.rpartition('.')[2]}.{name}": exercise
    for module in (
        *(augmentations, nt_xent, pretraining, linear_probe, supervised_comparison),
        *(embeddings, own_images, scaling_up),
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
    assert list(scaling_up.EXERCISES) == ["num_negatives", "chunked_loss", "cached_gradient", "speed_up"]
    assert scaling_up.EXERCISES["speed_up"] is scaling_up.speed_up
    assert len(ALL) == 33
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
    assert "tensor" in exercise.verdict(lambda *arguments: "a string")
    assert "Not yet" in exercise.verdict(lambda *arguments: None)
    assert "ZeroDivisionError" in exercise.verdict(lambda *arguments: 1 / 0)
    assert "Not yet" in exercise.verdict(lambda *arguments: torch.full((3, 2, 1), torch.nan))


def test_what_pytorch_has_not_implemented_is_not_an_untouched_stub():
    def attempt(x):
        raise NotImplementedError("\"addmm\" not implemented for 'Bool'")

    assert "addmm" in augmentations.crop_size.verdict(lambda *arguments: attempt(*arguments[:1]))


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
