"""The package picks a device and a precision, and a result says what it was computed with."""

import pytest
import torch

from simclr_lib import device
from simclr_lib.errors import SimCLRError


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
