import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("onebyone", deadline=None, max_examples=30, derandomize=True)
hypothesis.settings.load_profile("onebyone")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
