"""What the guest's tests share. Runs on Python 3.8 too."""

import os
from pathlib import Path

import pytest

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.names import OWN_PREFIX


@pytest.fixture(params=["openat2", "walk"])
def root(request, tmp_path):
    """An empty directory as a Root, once resolved by the kernel and once by the walk that other systems need."""
    root = Root(str(tmp_path), use_openat2=request.param == "openat2")
    if request.param == "openat2" and root._openat2 is None:
        root.close()
        pytest.skip("this kernel has no openat2, or forbids it")
    yield root
    root.close()


@pytest.fixture
def leftovers(tmp_path):
    """A function that tells which of the guest's own files are beneath the test's directory."""

    def find():
        return [
            Path(directory, name)
            for directory, directories, files in os.walk(str(tmp_path))
            for name in directories + files
            if name.startswith(OWN_PREFIX)
        ]

    return find
