"""Programs to run, each test's with a home of its own."""

import pytest

from tests.examples.programs import Programs


@pytest.fixture
def programs(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return Programs(home)
