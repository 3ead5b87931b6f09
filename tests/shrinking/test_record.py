"""What was done to a network goes with it into a file."""

import torch

from onebyone.models import load_model, save
from onebyone.shrinking import MacsBudget, plan_shrink
from onebyone.shrinking.record import record_edits
from tests.shrinking.networks import block_network

IMAGES = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))

FILE = """
from tests.shrinking.networks import block_network as make
"""


def test_a_users_network_is_shrunk_kept_and_named_again(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    network, card = load_model(f"{tmp_path}/mine.py:make")
    plan = plan_shrink(network, IMAGES, budget=MacsBudget(0.5), align=4)
    small = plan.apply(network)
    save(small, tmp_path / "small.safetensors")
    again, loaded = load_model(f"{tmp_path}/mine.py:make", weights=tmp_path / "small.safetensors")
    assert torch.equal(again(IMAGES), small(IMAGES))
    assert len(loaded.steps) == 1
    assert card.steps == ()


def test_a_network_without_a_card_keeps_none():
    network = block_network()
    record_edits(network, [])
    assert not hasattr(network, "card")
