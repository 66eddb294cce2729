"""The package picks a device and a precision, and a result says what it was computed with."""

import pytest
import torch
from tiny import TINY, options
from torch.utils._python_dispatch import TorchDispatchMode

from simclr_lib import TrainConfig, device, load_dataset, loop, pretrain, train_supervised
from simclr_lib.cli import main
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments import throughput


@pytest.mark.parametrize(
    ("cpu", "avx512_bf16", "amx", "fast"),
    [
        ("AMD EPYC 9R14", True, False, True),
        ("AMD EPYC 7R13", False, False, False),
        ("Intel(R) Xeon(R) Platinum 8488C", True, True, True),
        # On an Intel Xeon whose tiles were switched off, products of 2048² matrices ran at 385 GFLOP/s in float32 and
        # at 213 in bfloat16.
        ("Intel(R) Xeon(R) Processor", True, False, False),
        ("Apple M2", False, False, False),
    ],
)
def test_a_cpu_uses_bfloat16_where_that_is_faster(cpu, avx512_bf16, amx, fast, monkeypatch):
    monkeypatch.setattr(device, "_cpu_name", lambda: cpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert device.has_fast_bfloat16(torch.device("cpu")) is fast
    with device.autocast(torch.device("cpu"), "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize("program", ["/usr/bin/simclr", "/site-packages/simclr_lib/__main__.py"])
def test_a_result_says_which_command_made_it(program, monkeypatch):
    monkeypatch.setattr("sys.argv", [program, "train", "--data-dir", "my photos"])
    assert device.environment(torch.device("cpu"))["command"] == "simclr train --data-dir 'my photos'"
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest", "tests"])
    assert device.environment(torch.device("cpu"))["command"] is None


@pytest.mark.parametrize("name", ["cuda:99", "mps", "gpu", "cuda:-1"])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(SimCLRError):
        device.pick_device(name)


# --- precision


@pytest.mark.parametrize(
    ("capability", "precision"), [((6, 1), "fp32"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_a_gpu_takes_the_fastest_precision_that_it_has(capability, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    gpu = torch.device("cuda")
    assert device.fastest_precision(gpu) == precision
    assert TrainConfig().resolved(32, gpu).precision == precision
    assert device.gradient_scaler(torch.device("cpu"), precision).is_enabled() == (precision == "fp16")
    if capability < (8, 0):
        with pytest.raises(SimCLRError, match="use the precision fp16 or fp32"):
            device.check_precision(gpu, "bf16")


def test_float16_is_computed_in_where_it_is_asked_for():
    with device.autocast(torch.device("cpu"), "fp16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
    with pytest.raises(SimCLRError, match="unknown precision 'fp17': did you mean 'fp16'"):
        device.autocast(torch.device("cpu"), "fp17")


# --- Apple's GPUs


def test_an_apple_gpu_is_taken_by_its_name_only_and_in_float32(monkeypatch):
    with pytest.raises(SimCLRError, match="no Apple GPU was found"):
        device.pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    gpu = device.pick_device("mps")
    assert gpu.type == "mps"
    assert device.pick_device("auto").type == "cpu"
    assert TrainConfig().resolved(32, gpu).precision == "fp32"
    assert not device.gradient_scaler(gpu).is_enabled()
    for precision in ("bf16", "fp16"):
        with pytest.raises(SimCLRError, match="use the precision fp32"):
            device.autocast(gpu, precision)


class NoFloat64(TorchDispatchMode):
    """Refuses float64, which Apple's GPUs do not have."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            assert not isinstance(value, torch.Tensor) or value.dtype != torch.float64, function
        return result


@pytest.mark.parametrize("optimizer", ["lars", "adam", "sgd"])
def test_training_uses_no_float64(optimizer):
    emblems = load_dataset("emblems", limit=60)
    config = TrainConfig(**{**vars(TINY), "limit": None, "optimizer": optimizer, "blur_prob": 0.5, "epochs": 1})
    with NoFloat64():
        pretrain(emblems, config)
        train_supervised(emblems, TrainConfig(**{**vars(config), "contrastive": False}))


# --- compilers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value"), [("PATH", "/nowhere"), ("CXX", "/nowhere/c++"), ("CXX", "ccache-none g++")]
)
def test_compiling_without_a_compiler_is_one_line_and_the_folder_can_be_used_afterwards(
    variable, value, monkeypatch, tmp_path, capsys
):
    config = TrainConfig(**{**vars(TINY), "limit": 60, "epochs": 1, "run_dir": tmp_path / "run"})
    with monkeypatch.context() as patch:
        patch.delenv("CXX", raising=False)
        patch.setenv(variable, value)
        assert main(["train", "--compile", "--no-contrastive", *options(config)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("simclr: error: --compile needs a compiler, and there is no ")
    assert "or leave --compile out." in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    assert main(["train", "--no-contrastive", *options(config)]) == 0


def test_a_compiler_may_be_named_with_its_arguments(monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", f"{compiler} -O2")
    device.check_compiler(torch.device("cpu"))
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(SimCLRError, match=r"there is no /nowhere/cc: install one \(or set CC to its place"):
        device.check_compiler(torch.device("cuda"))


def test_steps_on_a_gpu_leave_the_cores_to_others_and_the_settings_as_they_were(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    seen = []

    def stop_with(*settings):
        seen.extend(settings)
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with device.equal_steps(torch.device("cpu")):
            assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == (2, False)
        with pytest.raises(KeyboardInterrupt), device.equal_steps(torch.device("cuda")):
            stop_with(torch.get_num_threads(), torch.backends.cudnn.benchmark)
        assert seen == [1, True]
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        with device.equal_steps(torch.device("cuda")):  # then the kernels must not depend on a race
            assert not torch.backends.cudnn.benchmark
        assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == (2, False)
    finally:
        torch.set_num_threads(threads)


def test_training_and_what_is_timed_take_their_steps_so(monkeypatch):
    asked = []
    original = device.equal_steps
    for module in (loop, throughput):
        monkeypatch.setattr(module, "equal_steps", lambda where: asked.append(where.type) or original(where))
    pretrain(load_dataset("emblems", "train", limit=120), TINY)
    throughput.median_seconds(lambda: None, torch.device("cpu"))
    assert asked == ["cpu", "cpu"]
