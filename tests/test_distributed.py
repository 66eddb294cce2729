"""Several processes train as one does on the whole batch; losing one loses no work."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simclr_lib import SimCLRAugment, SimCLRError, TrainConfig, load_dataset, nt_xent, pretrain, train_supervised
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
from simclr_lib.training import load_checkpoint, read_metrics, save_checkpoint

CPU = torch.device("cpu")
PAIRS, DIM = 8, 5  # of all processes together

TINY = TrainConfig(
    dataset="emblems",
    stem="fast",
    width=4,
    projection_hidden=16,
    projection_dim=8,
    batch_size=16,
    epochs=2,
    optimizer="sgd",
    lr=1e-5,  # at usual ones, so small a network makes 1e-7 in its first weights 0.1 in the loss of step 5
    validation=0.1,
    monitor_every=1,
    precision="fp32",
    device="cpu",
)


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
    """Pairs of which no two processes have alike: the later ones are far longer and nearer to each other."""
    generator = seeded(0, "embeddings")
    z = torch.randn(2, PAIRS, DIM, generator=generator, dtype=torch.float64)
    z = z + torch.linspace(0, 3, PAIRS, dtype=torch.float64)[:, None]
    return z[0], z[1]


def loss_and_gradients(**options: object) -> dict[str, Tensor]:
    """NT-Xent of this process's pairs: the mean of all processes, and its own rows' gradient of that mean."""
    mine = world().part(PAIRS)
    z_a, z_b = (z[mine].clone().requires_grad_() for z in embeddings())
    loss = nt_xent(z_a, z_b, temperature=0.2, **options)
    loss.backward()
    return {"loss": average(loss.detach()), "gradient": torch.stack([z_a.grad, z_b.grad], dim=1) / world().size}


def batch_norm(dtype: torch.dtype) -> dict[str, Tensor]:
    """Output, gradients and running statistics of a batch norm over two steps."""
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


def twenty_steps(norm: bool, dtype: torch.dtype = torch.float64, **options: object) -> dict[str, Tensor]:
    """Losses and final weights of 20 steps of SimCLR."""
    images = load_dataset("emblems", "train", limit=40).images
    with initial_weights(0):
        model = Small(norm, dtype)
    objective = contrastive_objective(
        distribute(model), images, SimCLRAugment(12, color_strength=0.5), temperature=0.2, **options
    )
    config = LoopConfig(epochs=10, batch_size=16, optimizer="sgd", lr=0.1, warmup_epochs=1, precision="fp32")
    losses = fit(model, objective, len(images), config)
    return {"losses": torch.tensor(losses, dtype=dtype), **dict(model.state_dict())}


def measure() -> dict[str, dict[str, Tensor]]:
    """Everything that must not depend on the number of processes."""
    return {
        "loss": loss_and_gradients(),
        "chunked loss": loss_and_gradients(chunk_size=3),
        "local loss": loss_and_gradients(global_negatives=False),
        "batch norm, float64": batch_norm(torch.float64),
        "batch norm, float32": batch_norm(torch.float32),
        "20 steps": twenty_steps(norm=True),
        "20 steps, float32": twenty_steps(norm=True, dtype=torch.float32),
        "20 steps, chunked loss": twenty_steps(norm=True, loss_chunk=5),
        "20 steps, no batch norm": twenty_steps(norm=False),
        "20 steps, no batch norm, gradient caching": twenty_steps(norm=False, micro_batch=3),
    }


def work(other_port: int, folder: Path) -> None:
    """What each of the processes does."""
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with joined(CPU, timeout=60) as me:
        assert me == world() == World(rank, size)
        results = measure()
        train = load_dataset("emblems", "train", limit=120)
        pretrain(train, TINY, folder / "simclr", filmed=train.subset(torch.arange(10)))
        train_supervised(train, TINY, folder / "supervised")
        with pytest.raises(SimCLRError, match=r"batches of 1, 2.* rows"):
            gathered(torch.zeros(rank + 1, 3))
        assert agree(rank == size - 1, False) == [True, False]
        assert from_leader(f"process {rank}") == "process 0"
        torch.save(results, folder / f"{rank}.pt")
    assert world() == World()
    os.environ["MASTER_PORT"] = str(other_port)
    if rank == 1:
        with joined(CPU, timeout=20):
            time.sleep(12)
    else:
        # Whoever waited longest knows who is missing; the others may only see that one leave.
        seen = "process 1 did not answer for 3 s" if rank == 0 else "process 1 did not answer|another one is gone"
        with pytest.raises(LostProcessError, match=seen), joined(CPU, timeout=3):
            agree_late(rank / 4)


def agree_late(seconds: float) -> None:
    time.sleep(seconds)
    agree()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Results and folder of one process."""
    folder = tmp_path_factory.mktemp("alone")
    train = load_dataset("emblems", "train", limit=120)
    pretrain(train, TINY, folder / "simclr")
    train_supervised(train, TINY, folder / "supervised")
    return measure(), folder


@pytest.fixture(scope="module", params=[2, 4])
def together(request, tmp_path_factory):
    """Results, a list of one for each process, and folder of several."""
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


@pytest.mark.parametrize("run", ["20 steps", "20 steps, float32", "20 steps, chunked loss", "20 steps, no batch norm"])
def test_twenty_steps_are_those_of_one_process(alone, together, run):
    for results in together[0]:
        for name, value in alone[0][run].items():
            if name == "losses" or value.dtype == torch.float64:
                same(results[run][name], value)
            else:  # a weight's rounding errors add up
                torch.testing.assert_close(results[run][name], value, atol=1e-4, rtol=1e-3)


def test_gradient_caching_is_exact_without_batch_norm_on_several_processes_too(alone, together):
    for results in [alone[0], *together[0]]:
        for name, value in results["20 steps, no batch norm, gradient caching"].items():
            same(value, alone[0]["20 steps, no batch norm"][name])


@pytest.mark.parametrize("run", ["simclr", "supervised"])
def test_a_run_has_one_writer_and_the_curve_of_one_process(alone, together, run):
    ours, theirs = (read_metrics(folder / run) for folder in (alone[1], together[1]))
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if "loss" in a:
            assert b["loss"] == pytest.approx(a["loss"], abs=1e-5 if a["step"] < 3 else 1e-3), a["step"]
    weights, expected = (load_checkpoint(folder / run)["model"] for folder in (together[1], alone[1]))
    assert list(weights) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, atol=1e-4, rtol=1e-4)


def test_a_batch_must_divide():
    assert [World(rank, 3).part(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(SimCLRError, match="use --batch-size 9 or 12"):
        World(0, 3).part(10)
    with pytest.raises(SimCLRError, match="use --batch-size 4"):
        World(0, 4).part(2)


def test_a_process_that_does_not_come_is_named(monkeypatch):
    start = {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in start.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LostProcessError, match=r"process 1, 2 of 0…2 did not come within 2 s"), joined(CPU, timeout=2):
        pass


# --- torchrun

OPTIONS = [
    *("--dataset", "emblems", "--limit", "120", "--stem", "fast", "--width", "4", "--projection-hidden", "16"),
    *(
        "--projection-dim",
        "8",
        "--batch-size",
        "16",
        "--epochs",
        "12",
        "--optimizer",
        "sgd",
        "--lr",
        "1e-4",
        "--precision",
        "fp32",
    ),
    *("--checkpoint-seconds", "0", "--monitor-every", "6"),
]
SUPERVISED = [*OPTIONS, "--no-contrastive"]  # is evaluated faster


def torchrun(folder: Path, *options: str, restarts: int = 0) -> subprocess.Popen:
    """Two processes that train."""
    launcher = ["--nproc-per-node", "2", "--max-restarts", str(restarts), "--master-port", str(free_port())]
    command = ["-m", "simclr_lib", "train", *options, "--run-dir", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers(process: subprocess.Popen) -> dict[int, int]:
    """Rank → process number of what torchrun started."""
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
def whole(tmp_path_factory):
    """The folder of a run by one process that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    command = [sys.executable, "-m", "simclr_lib", "train", *SUPERVISED, "--run-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def assert_same_curve(folder: Path, whole: Path) -> None:
    ours, theirs = (
        {line["step"]: line["loss"] for line in read_metrics(path) if "loss" in line} for path in (folder, whole)
    )
    assert ours.keys() == theirs.keys()
    for step, loss in theirs.items():
        assert ours[step] == pytest.approx(loss, abs=0.005), step


linux = pytest.mark.skipif(not Path("/proc").exists(), reason="finds torchrun's processes in /proc")


@linux
def test_a_killed_process_ends_the_job_with_a_checkpoint_that_any_number_can_resume(whole, tmp_path, wait_for_steps):
    process = torchrun(tmp_path / "cut", *SUPERVISED)
    wait_for_steps(tmp_path / "cut", process, 5)
    os.kill(workers(process)[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "lost its connection" in output
    assert "simclr_lib/cli.py" not in output  # no traceback of ours
    state = load_checkpoint(tmp_path / "cut")
    assert 0 < state["step"] < 12 * 7
    assert state["processes"] == 2
    before = read_metrics(tmp_path / "cut")[: state["step"]]
    command = [sys.executable, "-m", "simclr_lib", "train", *SUPERVISED, "--resume"]
    command += ["--run-dir", str(tmp_path / "cut")]
    subprocess.run(command, check=True, capture_output=True)
    assert read_metrics(tmp_path / "cut")[: state["step"]] == before  # their speed as well: they were not taken again
    assert_same_curve(tmp_path / "cut", whole)


@linux
def test_torchrun_restarts_from_the_checkpoint(whole, tmp_path, wait_for_steps):
    process = torchrun(tmp_path / "cut", *SUPERVISED, restarts=1)
    wait_for_steps(tmp_path / "cut", process, 5)
    os.kill(workers(process)[1], signal.SIGKILL)
    before = read_metrics(tmp_path / "cut")[:4]
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert (tmp_path / "cut" / "results.json").exists()
    assert read_metrics(tmp_path / "cut")[:4] == before  # their speed as well: they were not taken again
    assert_same_curve(tmp_path / "cut", whole)


def test_an_existing_run_is_not_touched_by_several_processes_however_often_they_start(whole):
    before = {path.name: path.read_bytes() for path in whole.glob("*.*")}
    output, _ = (process := torchrun(whole, *SUPERVISED, restarts=1)).communicate(timeout=120)
    assert process.returncode != 0
    assert output.count("already holds a run: continue it (--resume)") == 2
    assert {path.name: path.read_bytes() for path in whole.glob("*.*")} == before


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_written(tmp_path):
    output, _ = (process := torchrun(tmp_path / "run", *OPTIONS, "--batch-size", "15")).communicate(timeout=120)
    assert process.returncode != 0
    assert "use --batch-size 14 or 16" in output
    assert not (tmp_path / "run").exists()


@linux
def test_ctrl_c_saves_and_ends_all_processes(tmp_path, wait_for_steps):
    process = torchrun(tmp_path / "run", *OPTIONS, "--checkpoint-seconds", "600")
    wait_for_steps(tmp_path / "run", process, 5)
    started = workers(process)
    assert len(started) == 2
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert load_checkpoint(tmp_path / "run")["step"] >= 5, output
    assert "everything is saved" in output
    assert not any(Path(f"/proc/{number}").exists() for number in started.values())


def test_process_0_that_does_not_come_is_named(monkeypatch):
    start = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in start.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LostProcessError, match="start process 0 there first"), joined(CPU, timeout=1):
        pass


def test_local_negatives_do_not_resume_with_another_number_of_processes(tmp_path, monkeypatch):
    train = load_dataset("emblems", "train", limit=120)
    local = dataclasses.replace(TINY, epochs=1, global_negatives=False)
    pretrain(train, local, tmp_path)
    state = load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {**state, "processes": 2})
    with pytest.raises(SimCLRError, match="processes were 2, are 1"):
        pretrain(train, dataclasses.replace(local, resume=True), tmp_path)


def test_a_timeout_and_a_micro_batch_must_make_sense():
    with pytest.raises(SimCLRError, match="timeout must be above 0"):
        dataclasses.replace(TINY, timeout=0).check()
    with pytest.raises(SimCLRError, match="a micro-batch of 32 is larger than the batch of 16"):
        dataclasses.replace(TINY, micro_batch=32).check()
