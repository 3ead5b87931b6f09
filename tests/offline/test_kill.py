"""kill -9 at random moments costs a part, and never the result."""

from tests.offline.kill import kill_often


def test_runs_that_are_killed_go_on_to_the_same_file():
    assert kill_often(4, seed=1) == 1
