"""What all tests need, and the examples in docstrings too."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let compiled networks be kept in a folder that goes away, not among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield
