"""Several processes train as one process does on the whole batch; losing one of them loses no work.

Processes add up the same numbers in another order than one process does, so their results differ by rounding:

- float64 rounds to 2⁻⁵³ ≈ 1e-16, float32 to 2⁻²⁴ ≈ 6e-8. A few hundred operations leave errors far below 1e-9 and 1e-5.
- bfloat16 keeps 8 bits: an activation that falls on the other side of a boundary changes by 2⁻⁸ ≈ 4e-3 of itself.

Training can enlarge rounding errors without bound: at usual learning rates, 1e-7 in the first weights of so small a
network becomes 0.1 in the loss of step 5. A run whose curve is compared therefore takes tiny steps (`SMALL_STEPS`):
its weights stay almost where they begin, and a later loss is as exact as the first one.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY, options
from torch import Tensor, nn
from torch.distributed import TCPStore

from simclr_lib import (
    SimCLRAugment,
    SimCLRError,
    TrainConfig,
    distributed,
    load_dataset,
    nt_xent,
    pretrain,
    train_supervised,
)
from simclr_lib.cli import main
from simclr_lib.distributed import (
    LostProcessError,
    SyncBatchNorm,
    World,
    agree,
    average,
    distribute,
    free_port,
    from_leader,
    gathered,
    joined,
    on_this_machine,
    world,
)
from simclr_lib.loop import LoopConfig, fit
from simclr_lib.objectives import contrastive_objective
from simclr_lib.seeding import initial_weights, seeded
from simclr_lib.training import Interrupted, load_checkpoint, read_metrics, save_checkpoint
from simclr_lib.training.run import Run

CPU = torch.device("cpu")
PAIRS, DIM = 8, 5  # of all processes together

SMALL_STEPS = replace(TINY, optimizer="sgd", lr=1e-7, epochs=1)
RUNS = {
    "simclr": (pretrain, SMALL_STEPS),
    "simclr, bf16": (pretrain, replace(SMALL_STEPS, precision="bf16")),
    "supervised": (train_supervised, SMALL_STEPS),
}


class Small(nn.Module):
    """A small SimCLR network, with batch norm or without."""

    def __init__(self, norm: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        layers = [nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.Tanh(), nn.Flatten()]
        layers += [nn.Linear(36, 6), nn.BatchNorm1d(6) if norm else nn.Identity()]
        self.layers = nn.Sequential(*layers).to(dtype)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        return views, self.layers(views.to(self.dtype))


def embeddings() -> tuple[Tensor, Tensor]:
    """Pairs that differ from process to process: the later ones are far longer and nearer to each other."""
    generator = seeded(0, "embeddings")
    z = torch.randn(2, PAIRS, DIM, generator=generator, dtype=torch.float64)
    z = z + torch.linspace(0, 3, PAIRS, dtype=torch.float64)[:, None]
    return z[0], z[1]


def loss_and_gradients(**options: object) -> dict[str, Tensor]:
    """The mean of all processes' NT-Xent losses, and the gradient of that mean for this process's rows."""
    mine = world().part(PAIRS)
    z_a, z_b = (z[mine].clone().requires_grad_() for z in embeddings())
    loss = nt_xent(z_a, z_b, temperature=0.2, **options)
    loss.backward()
    return {"loss": average(loss.detach()), "gradient": torch.stack([z_a.grad, z_b.grad], dim=1) / world().size}


def batch_norm(dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the output, the gradients and the running statistics of a batch norm after two steps."""
    generator = seeded(0, "batch norm")
    images = torch.randn(PAIRS, 3, 2, 2, generator=generator, dtype=dtype)
    images += torch.linspace(-2, 5, PAIRS, dtype=dtype)[:, None, None, None]
    weights = torch.randn(PAIRS, 3, 2, 2, generator=generator, dtype=dtype)
    layer = nn.BatchNorm2d(3, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1, 2]))
    network = nn.Sequential(layer)
    distribute(network)
    mine = world().part(PAIRS)
    images = images[mine].requires_grad_()
    for _ in range(2):
        output = network(images)
    (output * weights[mine]).sum().backward()
    norm = network[0]
    return {
        "output": output.detach(),
        "gradient": images.grad,
        "running mean": norm.running_mean,
        "running variance": norm.running_var,
        "evaluated": network.eval()(images).detach(),
        "synchronized": torch.tensor(isinstance(norm, SyncBatchNorm)),
    }


def eight_steps(norm: bool, dtype: torch.dtype = torch.float64, **settings: object) -> dict[str, Tensor]:
    """Return the losses and the final weights of eight steps of SimCLR."""
    images = load_dataset("emblems", "train", limit=40).images
    with initial_weights(0):
        model = Small(norm, dtype)
    objective = contrastive_objective(
        distribute(model), images, SimCLRAugment(12, color_strength=0.5), temperature=0.2, **settings
    )
    config = LoopConfig(epochs=4, batch_size=16, optimizer="sgd", lr=0.1, warmup_epochs=1, precision="fp32")
    losses = fit(model, objective, len(images), config)
    return {"losses": torch.tensor(losses, dtype=dtype), **dict(model.state_dict())}


def measure() -> dict[str, dict[str, Tensor]]:
    """Compute everything that must not depend on the number of processes."""
    return {
        "loss": loss_and_gradients(),
        "chunked loss": loss_and_gradients(chunk_size=3),
        "local loss": loss_and_gradients(global_negatives=False),
        "batch norm, float64": batch_norm(torch.float64),
        "batch norm, float32": batch_norm(torch.float32),
        "eight steps": eight_steps(norm=True),
        "eight steps, float32": eight_steps(norm=True, dtype=torch.float32),
        "eight steps, chunked loss": eight_steps(norm=True, loss_chunk=5),
        "eight steps, no batch norm": eight_steps(norm=False),
        "eight steps, no batch norm, gradient caching": eight_steps(norm=False, micro_batch=3),
    }


def train_all(folder: Path) -> None:
    train = load_dataset("emblems", "train", limit=120)
    for name, (train_on, config) in RUNS.items():
        train_on(train, config, folder / name)


def train_half(folder: Path) -> None:
    """Begin every run, and press Ctrl-C in all processes after half of its steps."""

    def press_ctrl_c(self: Run, step: int, flush: Callable[[], None]) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        after_step(self, step, flush)

    after_step = Run.after_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "after_step", press_ctrl_c)
        for name, (train_on, config) in RUNS.items():
            with pytest.raises(Interrupted):
                train_on(load_dataset("emblems", "train", limit=120), config, folder / f"half of {name}")


def work(other_port: int, folder: Path) -> None:
    """Do in each of the processes what `alone` does in one, and what takes several."""
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with joined(CPU, timeout=60) as me:
        assert me == world() == World(rank, size)
        results = measure()
        train_all(folder)
        train_half(folder)
        with pytest.raises(SimCLRError, match=r"batches of 1, 2.* rows"):
            gathered(torch.zeros(rank + 1, 3))
        assert agree(rank == size - 1, False) == [True, False]
        assert from_leader(f"process {rank}") == "process 0"
        torch.save(results, folder / f"{rank}.pt")
    assert world() == World()
    os.environ["MASTER_PORT"] = str(other_port)
    with redirect_stderr(io.StringIO()) as errors:
        assert main(["train", *options(replace(TINY, batch_size=15)), "--run-dir", str(folder / "refused")]) == 2
    if rank == 0:
        (folder / "refusal.txt").write_text(errors.getvalue(), encoding="utf-8")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results and the folder of one process."""
    folder = tmp_path_factory.mktemp("alone")
    train_all(folder)
    return measure(), folder


@pytest.fixture(scope="module", params=[pytest.param(size, marks=pytest.mark.slow) for size in (2, 4)])
def together(request, tmp_path_factory):
    """The results of several processes (a list with one entry for each) and their common folder."""
    folder = tmp_path_factory.mktemp("together")
    on_this_machine(work, request.param, free_port(), folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)], folder


def same(a: Tensor, b: Tensor) -> None:
    if not a.is_floating_point():
        assert torch.equal(a, b)
        return
    tolerance = 1e-9 if a.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("loss", ["loss", "chunked loss"])
def test_loss_and_gradient_are_those_of_the_joined_batch(alone, together, loss):
    expected, _ = alone
    for results in together[0]:
        same(results[loss]["loss"], expected[loss]["loss"])
    same(torch.cat([results[loss]["gradient"] for results in together[0]]), expected[loss]["gradient"])


def test_local_negatives_are_another_loss(alone, together):
    for results in together[0]:
        assert results["local loss"]["loss"] < alone[0]["loss"]["loss"] - 0.1  # fewer negatives


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_batch_norm_sees_the_batches_of_all_processes(alone, together, dtype):
    expected = alone[0][f"batch norm, {dtype}"]
    parts = [results[f"batch norm, {dtype}"] for results in together[0]]
    assert all(part["synchronized"] for part in parts)
    assert not expected["synchronized"]
    for name in ("output", "gradient", "evaluated"):
        same(torch.cat([part[name] for part in parts]), expected[name])
    for part in parts:
        same(part["running mean"], expected["running mean"])
        same(part["running variance"], expected["running variance"])


@pytest.mark.parametrize(
    "run", ["eight steps", "eight steps, float32", "eight steps, chunked loss", "eight steps, no batch norm"]
)
def test_eight_steps_are_those_of_one_process(alone, together, run):
    for results in together[0]:
        for name, value in alone[0][run].items():
            if name == "losses" or value.dtype == torch.float64:
                same(results[run][name], value)
            else:  # a weight's rounding errors add up
                torch.testing.assert_close(results[run][name], value, atol=1e-4, rtol=1e-3)


def test_gradient_caching_is_exact_without_batch_norm_on_several_processes_too(alone, together):
    for results in [alone[0], *together[0]]:
        for name, value in results["eight steps, no batch norm, gradient caching"].items():
            same(value, alone[0]["eight steps, no batch norm"][name])


def curve(folder: Path) -> Tensor:
    """The loss of every step."""
    lines = [line for line in read_metrics(folder) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return torch.tensor([line["loss"] for line in lines])


def assert_same_run(folder: Path, expected: Path, precision: str) -> None:
    """Assert that two runs of `SMALL_STEPS` saw the same views at every step, and ended with the same weights."""
    losses = curve(expected)
    between_steps = losses.diff().abs().mean()  # what other views change
    difference = (curve(folder) - losses).abs().mean() / between_steps
    # In bf16, each of twenty layers rounds to 2⁻⁸, so that a loss near 4 is known to a few hundredths.
    assert difference < {"fp32": 1e-3, "bf16": 0.25}[precision]
    for a, b in zip(*(load_checkpoint(run)["model"].values() for run in (folder, expected)), strict=True):
        tolerance = {"fp32": 1e-4, "bf16": 2**-5}[precision] if a.is_floating_point() else 0  # steps are counted
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_one_writer_and_the_curve_of_one_process(alone, together, run):
    theirs, ours = (read_metrics(folder / run) for folder in (alone[1], together[1]))
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    assert list(load_checkpoint(together[1] / run)["model"]) == list(load_checkpoint(alone[1] / run)["model"])
    assert_same_run(together[1] / run, alone[1] / run, RUNS[run][1].precision)


@pytest.mark.parametrize("run", RUNS)
def test_one_process_goes_on_with_the_run_of_several(alone, together, run):
    processes, half = len(together[0]), together[1] / f"half of {run}"
    state = load_checkpoint(half)
    assert (state["step"], state["processes"]) == (3, processes)
    train_on, config = RUNS[run]
    before = read_metrics(half)
    train_on(load_dataset("emblems", "train", limit=120), replace(config, resume=True), half)
    assert read_metrics(half)[:3] == before[:3]  # their speed as well: they were not taken again
    assert_same_run(half, alone[1] / run, config.precision)


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_written(together):
    size, folder = len(together[0]), together[1]
    assert f"a batch of 15 does not divide among {size} processes" in (folder / "refusal.txt").read_text(
        encoding="utf-8"
    )
    assert not (folder / "refused").exists()


def test_a_batch_must_divide():
    assert [World(rank, 3).part(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(SimCLRError, match="use a batch_size of 9 or 12"):
        World(0, 3).part(10)
    with pytest.raises(SimCLRError, match="use a batch_size of 4"):
        World(0, 4).part(2)


def await_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.05)


def agree_late(seconds: float) -> None:
    time.sleep(seconds)
    agree()


def lose_one(folder: Path, timeout: float, seconds_to_notice: float) -> None:
    """Process 1 joins the others and never answers; each of the others must find that out."""
    distributed.SECONDS_TO_NOTICE = seconds_to_notice
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    (folder / f"{rank} started").touch()
    for other in range(size):  # importing PyTorch may take long on a busy machine: it is not part of the time-out
        await_file(folder / f"{other} started")
    others = [other for other in range(size) if other != 1]
    if rank == 1:
        with joined(CPU, timeout=600):
            for other in others:
                await_file(folder / f"{other} noticed")
        return
    # Process 0 has waited longest and knows who is missing; the others may only see that process 0 leaves.
    message = f"process 1 did not answer for {timeout:g} s" + ("" if rank == 0 else "|another one is gone")
    with pytest.raises(LostProcessError, match=message), joined(CPU, timeout):
        agree_late(rank / 4)
    (folder / f"{rank} noticed").touch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "seconds_to_notice"),
    [(2, 0.5), (3, distributed.SECONDS_TO_NOTICE)],
)
def test_a_process_that_does_not_answer_is_named(processes, seconds_to_notice, tmp_path):
    on_this_machine(lose_one, processes, tmp_path, 5.0, seconds_to_notice)
    assert len(list(tmp_path.glob("* noticed"))) == processes - 1


def agree_twice() -> None:
    agree()
    agree()


def leave_early(folder: Path) -> None:
    """Process 1 leaves after a first exchange; process 0 must find that out in the next one."""
    if os.environ["RANK"] == "1":
        with joined(CPU):
            agree()
        await_file(folder / "noticed")
        return
    message = "process 0 of 0…1 lost its connection: another one is gone"
    with pytest.raises(LostProcessError, match=message), joined(CPU):
        agree_twice()
    (folder / "noticed").touch()


def test_a_process_that_leaves_is_noticed(tmp_path):
    on_this_machine(leave_early, 2, tmp_path)
    assert (tmp_path / "noticed").exists()


def refuse_after_an_exchange(folder: Path) -> None:
    """End with an error after the last exchange, process 0 later than process 1."""
    with joined(CPU) as me:
        agree()
        if me.leads:
            time.sleep(0.5)
            (folder / "process 0 ends").touch()
        raise SimCLRError("refused")


def end_with_an_error(folder: Path) -> None:
    distributed.SECONDS_TO_LEAVE = 60.0
    with pytest.raises(SimCLRError, match="refused"):
        refuse_after_an_exchange(folder)
    assert (folder / "process 0 ends").exists()


def test_no_process_leaves_while_another_may_still_be_in_the_last_exchange(tmp_path):
    on_this_machine(end_with_an_error, 2, tmp_path)


THREADS_AFTER_THE_GROUP = """
from pathlib import Path
import torch
from simclr_lib.distributed import distribute, joined

def threads():
    return sum("gloo" in (thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir())

with joined(torch.device("cpu"), timeout=60):
    distribute(torch.nn.Linear(3, 1))(torch.ones(2, 3)).sum().backward()
    assert threads()
assert not threads()
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux lists a process's threads there")
def test_the_threads_of_a_group_end_with_it():
    """They would let go of tensors while Python shuts down, which aborts the process."""
    start = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen([sys.executable, "-c", THREADS_AFTER_THE_GROUP], env=os.environ | start | {"RANK": rank})
        for rank in "01"
    ]
    assert [process.wait() for process in processes] == [0, 0]


def alone_of(size: int, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process one of several, of which no other starts."""
    start = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in start.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_that_does_not_come_is_named(monkeypatch):
    alone_of(3, 0, monkeypatch)
    with pytest.raises(LostProcessError, match=r"process 1, 2 of 0…2 did not come within 0.5 s"), joined(CPU, 0.5):
        pass


def test_process_0_that_does_not_come_is_named(monkeypatch):
    alone_of(2, 1, monkeypatch)
    with pytest.raises(LostProcessError, match="start process 0 there first"), joined(CPU, timeout=1):
        pass


# --- torchrun

SAVES_EVERY_STEP = replace(SMALL_STEPS, epochs=6, validation=0.0, checkpoint_seconds=0.0)
SUPERVISED = replace(SAVES_EVERY_STEP, contrastive=False)  # its evaluation is the faster one
STEPS = 6 * 7  # of either


def torchrun(folder: Path, config: TrainConfig, restarts: int = 0) -> subprocess.Popen:
    """Start two processes that train."""
    launcher = ["--nproc-per-node", "2", "--max-restarts", str(restarts), "--master-port", str(free_port())]
    command = ["-m", "simclr_lib", "train", *options(config), "--run-dir", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train_alone(folder: Path, config: TrainConfig) -> None:
    """Train in one process, this one, with the command line as `torchrun` does."""
    assert main(["train", *options(config), "--run-dir", str(folder)]) == 0


def workers(process: subprocess.Popen) -> dict[int, int]:
    """Return the process number of each rank that torchrun started."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            environ = dict(item.partition("=")[::2] for item in path.read_text().split("\0"))
        except (OSError, ValueError):
            continue
        if parent == process.pid and "RANK" in environ:
            found[int(environ["RANK"])] = int(path.parent.name)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the run of `SUPERVISED` by one process."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train_alone(folder, SUPERVISED)
    return folder


linux = pytest.mark.skipif(not Path("/proc").exists(), reason="finds torchrun's processes in /proc")


@linux
@pytest.mark.slow
def test_a_killed_process_ends_the_job_with_a_checkpoint_that_any_number_can_resume(
    undisturbed, tmp_path, wait_for_steps
):
    process = torchrun(tmp_path / "cut", SUPERVISED)
    wait_for_steps(tmp_path / "cut", process, 5)
    os.kill(workers(process)[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    # The other process says that its connection is lost, unless torchrun ends it before it can.
    assert "Signal 9" in output
    assert "simclr_lib/cli.py" not in output  # no traceback of ours
    state = load_checkpoint(tmp_path / "cut")
    assert 0 < state["step"] < STEPS
    assert state["processes"] == 2
    before = read_metrics(tmp_path / "cut")[: state["step"]]
    train_alone(tmp_path / "cut", replace(SUPERVISED, resume=True))
    assert read_metrics(tmp_path / "cut")[: state["step"]] == before  # their speed as well: they were not taken again
    assert_same_run(tmp_path / "cut", undisturbed, SUPERVISED.precision)


@linux
@pytest.mark.slow
def test_torchrun_restarts_from_the_checkpoint(undisturbed, tmp_path, wait_for_steps):
    process = torchrun(tmp_path / "cut", SUPERVISED, restarts=1)
    wait_for_steps(tmp_path / "cut", process, 5)
    os.kill(workers(process)[1], signal.SIGKILL)
    before = read_metrics(tmp_path / "cut")[:4]
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.count("estimated time: ") == 2  # at each start, for both processes
    assert (tmp_path / "cut" / "results.json").exists()
    assert read_metrics(tmp_path / "cut")[:4] == before  # their speed as well: they were not taken again
    assert_same_run(tmp_path / "cut", undisturbed, SUPERVISED.precision)


def start_twice(port: int, run: Path) -> None:
    """Train as a process of a job that `torchrun` starts, and starts again."""
    for attempt in (0, 1):
        os.environ |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(attempt)
        with redirect_stderr(io.StringIO()) as errors:
            assert main(["train", *options(SUPERVISED), "--run-dir", str(run)]) == 2
        said = "already holds a run: continue it (--resume)" in errors.getvalue()
        assert said == (os.environ["RANK"] == "0"), errors.getvalue()  # one of them speaks for all


@pytest.mark.slow
def test_an_existing_run_is_not_touched_by_several_processes_however_often_they_start(tmp_path):
    run, port = tmp_path / "run", free_port()
    train_supervised(load_dataset("emblems", "train", limit=120), replace(SUPERVISED, epochs=1), run)
    before = {path.name: path.read_bytes() for path in run.glob("*.*")}
    agent = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)  # torchrun keeps it between its starts
    on_this_machine(start_twice, 2, port, run)
    assert agent.num_keys()
    assert {path.name: path.read_bytes() for path in run.glob("*.*")} == before


@linux
@pytest.mark.slow
def test_ctrl_c_saves_and_ends_all_processes(tmp_path, wait_for_steps):
    process = torchrun(tmp_path / "run", replace(SAVES_EVERY_STEP, checkpoint_seconds=600.0))
    wait_for_steps(tmp_path / "run", process, 5)
    started = workers(process)
    assert len(started) == 2
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert load_checkpoint(tmp_path / "run")["step"] >= 5, output
    assert "everything is saved" in output
    assert not any(Path(f"/proc/{number}").exists() for number in started.values())


def test_local_negatives_do_not_resume_with_another_number_of_processes(tmp_path, monkeypatch):
    train = load_dataset("emblems", "train", limit=120)
    local = replace(TINY, epochs=1, global_negatives=False)
    pretrain(train, local, tmp_path)
    state = load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {**state, "processes": 2})
    with pytest.raises(SimCLRError, match="processes were 2, are 1"):
        pretrain(train, replace(local, resume=True), tmp_path)


def test_a_timeout_and_a_micro_batch_must_make_sense():
    with pytest.raises(SimCLRError, match="timeout must be above 0"):
        replace(TINY, timeout=0).check()
    with pytest.raises(SimCLRError, match="a micro_batch of 32 is larger than the batch_size of 16"):
        replace(TINY, micro_batch=32).check()
