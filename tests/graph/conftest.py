import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Networks here are small; on a busy machine, threads would wait for each other for longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
