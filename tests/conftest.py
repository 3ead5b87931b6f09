import hypothesis
import pytest
import torch

from onebyone.compiler.machine.calibrate import calibrated_target

hypothesis.settings.register_profile("onebyone", deadline=None, max_examples=30, derandomize=True)
hypothesis.settings.load_profile("onebyone")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Compiled networks are kept for one run of the tests, away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        calibrated_target()  # once, and before tests that count the files of a folder of their own
        yield
