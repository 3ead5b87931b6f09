"""What a compiled network is found by: all that it depends on, and nothing else."""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from onebyone.compiler import TARGETS, Target, key
from onebyone.compiler.key import SOURCES, compiler_version, graphs_key, source_digest
from onebyone.compiler.machine.speeds import NOMINAL
from onebyone.graph import capture
from tests.compiler.test_model import Small

X = torch.randn(1, 3, 9, 7)


def make_network(seed=0):
    torch.manual_seed(seed)
    return Small().eval()


def key_of(network, *facts, x=X):
    return graphs_key([capture(network, (x,)).graph], *facts)


def test_the_key_is_that_of_all_that_matters(monkeypatch):
    network = make_network()
    keys = {"as it is": key_of(network)}
    assert key_of(make_network()) == keys["as it is"]
    keys["other weights"] = key_of(make_network(seed=1))
    keys["another shape"] = key_of(network, x=torch.zeros(2, 3, 9, 7))
    keys["another target"] = key_of(network, TARGETS["neon"].key)
    keys["numerics"] = key_of(network, "fp16")
    network.norm.eps *= 2
    keys["epsilon"] = key_of(network)
    network.stem.stride = (1, 1)
    keys["stride"] = key_of(network)
    with torch.no_grad():
        network.head.bias[0] += 1e-6
    keys["one number"] = key_of(network)
    monkeypatch.setattr(key, "compiler_version", lambda: "another")
    keys["another compiler"] = key_of(network)
    assert len(set(keys.values())) == len(keys)
    assert len({target.key for target in TARGETS.values()}) == len(TARGETS)


def test_weights_in_arguments_of_pytorchs_operators_count():
    class Table(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.register_buffer("table", torch.arange(9.0) + seed)

        def forward(self, x):
            return torch.cumsum(x, 3) * torch.cumsum(self.table, 0)[:7]

    assert key_of(Table(0).eval()) != key_of(Table(1e-3).eval())


OTHER_FACTS = {
    "name": "another",
    "triple": "riscv64-unknown-linux-gnu",
    "cpu": "another",
    "features": ("+another",),
    "lanes": 32,
    "narrowest_lanes": 32,
    "registers": 64,
    "spare_registers": 3,
    "tile_pixels": 13,
    "bf16": "pairs",
    "has_halves": False,
    "has_fma": False,
    "pause": ("another", (2,)),
    "gettid": 1,
    "futex": 422,
    "level2_bytes": 1 << 21,
    "speeds": replace(NOMINAL, wait_seconds=1e-5),
    "needs": frozenset({"another"}),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Target)])
def test_every_fact_of_a_target_counts(name):
    target = TARGETS["avx512"]
    assert replace(target, **{name: OTHER_FACTS[name]}).key != target.key


def test_a_target_has_one_key_in_all_processes():
    target = TARGETS["avx512"]
    turned = replace(target, needs=frozenset(sorted(target.needs, reverse=True)))
    assert turned.key == target.key
    assert str(sorted(map(repr, target.needs))) in target.key


def test_the_source_of_the_compiler_and_of_the_graph_counts(tmp_path):
    assert [folder.name for folder in SOURCES] == ["compiler", "graph"]
    (tmp_path / "a.py").write_text("x = 1")
    digests = [source_digest(tmp_path)]
    (tmp_path / "a.py").write_text("x = 2")
    digests.append(source_digest(tmp_path))
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    digests.append(source_digest(tmp_path))
    (tmp_path / "c.py").touch()
    digests.append(source_digest(tmp_path))
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("part", ["llvm_version", "source_digest"])
def test_another_llvm_or_source_is_another_compiler(monkeypatch, part):
    before = compiler_version()
    monkeypatch.setattr(key, part, lambda *_: "another")
    assert compiler_version.__wrapped__() != before
