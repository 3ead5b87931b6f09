import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Images here are tiny: on a busy machine, two threads wait 10 times longer than one works."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
