"""The judge of random networks sees what is wrong, and the networks are worth judging."""

import os
import signal
from functools import partial
from unittest.mock import patch

import pytest
import torch

from onebyone.compiler.compile import compile_model
from onebyone.errors import CompileError
from tests.helpers.fuzz import judge as judging
from tests.helpers.fuzz.drawing import Drawing
from tests.helpers.fuzz.grammar import BLOCKS, VECTOR_BLOCKS, draw_network
from tests.helpers.fuzz.judge import Verdict, judge, summarize
from tests.helpers.fuzz.network import Network, write_text
from tests.helpers.fuzz.processes import describe, judge_in_processes


def small(**facts):
    """A network of one convolution."""
    draw = Drawing(0)
    draw.argument("torch.randn(2, 3, 5, 4)")
    result = draw.line(f"{draw.layer('nn.Conv2d(3, 4, 1)')}(a0)")
    return Network(seed=0, text=write_text(draw, result, 0), batch=2, **facts)


class Planted:
    """A compiled network with a fault."""

    def __init__(self, compiled, spoil):
        self._compiled = compiled
        self._spoil = spoil
        self.calls = 0

    def __getattr__(self, name):
        return getattr(self._compiled, name)

    def __call__(self, *inputs):
        self.calls += 1
        return self._spoil(self._compiled(*inputs), inputs, self)


def add(result, inputs, model, *, share):
    return result + share * result.abs().max()


def write_to_input(result, inputs, model):
    inputs[0][0, 0, 0, 0] += 1
    return result


def nan(result, inputs, model):
    return result.index_fill(3, torch.tensor([0]), torch.nan)


def transpose(result, inputs, model):
    return result.transpose(2, 3)


def same_tensor(result, inputs, model):
    model.kept = getattr(model, "kept", result)
    return model.kept


def last_bit_of_the_second_call(result, inputs, model):
    return result if model.calls == 1 else result * (1 + 2e-7)


def last_bit_with_threads(result, inputs, model):
    return result if model.threads == 1 else result * (1 + 2e-7)


def last_bit_alone(result, inputs, model):
    return result if len(result) > 1 else result * (1 + 2e-7)


def nested(result, inputs, model):
    return [result]


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (partial(add, share=1e-4), "output 0: errors of"),
        (write_to_input, "input 0 was changed"),
        (nan, "output 0: NaN or infinities"),
        (transpose, "output 0 is torch.float32 (2, 4, 4, 5), not (2, 4, 5, 4)"),
        (same_tensor, "output 0 has other bits: a second call"),
        (last_bit_of_the_second_call, "output 0 has other bits: a second call"),
        (last_bit_with_threads, "output 0 has other bits: 2 threads"),
        (last_bit_alone, "output 0 has other bits: image 0 alone"),
        (nested, "nested as"),
    ],
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", ""),
)
def test_a_planted_fault_is_found(fault, finding):
    def planted(*arguments, **facts):
        return Planted(compile_model(*arguments, **facts), fault)

    with patch.object(judging, "compile_model", planted):
        (found,) = judge(small(), doors=("compile",)).findings
    assert found.startswith(f"compile: {finding}")


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (KeyError("a"), "compile: KeyError: 'a'"),
        (CompileError("first\nsecond"), "compile: an error of several lines: first\nsecond"),
    ],
)
def test_an_error_that_is_not_one_clear_line_is_found(error, finding):
    with patch.object(judging, "compile_model", side_effect=error):
        assert judge(small(), doors=("compile",)).findings == [finding]


def test_a_refusal_is_counted():
    with patch.object(judging, "compile_model", side_effect=CompileError("no")):
        verdict = judge(small(), doors=("compile",))
    assert (verdict.findings, verdict.refusals) == ([], ["compile: no"])


def test_what_a_network_leaves_in_its_inputs_is_compared():
    before, after = torch.zeros(1), torch.ones(1)
    expected = judging.Expected([], None, [], [after])
    judging.check_inputs([after], [before], expected)
    with pytest.raises(judging.Wrong, match="input 0 is not what PyTorch leaves there"):
        judging.check_inputs([before], [before], expected)


@pytest.mark.parametrize("doors", [("compile",), ("backend",)])
def test_nothing_is_found_where_nothing_is_wrong(doors):
    verdict = judge(small(), doors=doors)
    assert (verdict.findings, verdict.refusals) == ([], [])
    assert 0 < verdict.worst < 1


def die_at_one(seed):
    if seed == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Verdict(seed)


def test_a_crash_is_a_finding_and_others_go_on():
    verdicts = list(judge_in_processes(range(3), die_at_one))
    found = [verdict.findings for verdict in verdicts]
    assert found == [[], ["the process died: SIGSEGV"], []]
    assert summarize(verdicts).startswith("3 networks: 1 with findings")


def test_how_a_process_ended_is_said():
    assert (describe(-11), describe(3)) == ("SIGSEGV", "exit status 3")


def test_a_seed_is_a_network():
    assert draw_network(5) == draw_network(5)
    assert draw_network(5).text != draw_network(6).text


@pytest.mark.parametrize(
    "block", [*BLOCKS, *VECTOR_BLOCKS], ids=lambda block: f"{block.__module__}.{block.__name__}"
)
def test_every_block_can_be_drawn(block):
    """A block that PyTorch always refuses would never be met."""
    for seed in range(40):
        draw = Drawing(seed)
        shape = (2, 8, 6, 6) if block in BLOCKS else (2, 8)
        x = draw.argument(f"torch.randn{shape}")
        result = draw.attempt(block, x)
        if result is not None and draw.lines:
            Network(seed=seed, text=write_text(draw, result, seed)).load()
            return
    raise AssertionError(block)
