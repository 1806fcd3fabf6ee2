"""What the guest's tests share. Runs on Python 3.8 too."""

import os
import subprocess
import traceback
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


@pytest.fixture
def mount(tmp_path):
    """A function that mounts something on a path beneath the test's directory until the test ends."""

    def do_mount(path, *arguments):
        if os.geteuid() != 0 or subprocess.call(["mount", *arguments, str(path)]):
            pytest.skip("mounting is not allowed here")

    yield do_mount
    mounts = Path("/proc/self/mounts")
    places = [line.split()[1] for line in mounts.read_text().splitlines()] if mounts.exists() else []
    for place in places:  # wherever it has been moved meanwhile
        if place.startswith(str(tmp_path) + os.sep):
            subprocess.check_call(["umount", "-l", place])


@pytest.fixture
def stranger():
    """A function that runs another one in a process whose user (4321) is not root and owns nothing here."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")

    def run(function, groups=()):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups(groups)
                os.setgid(4321)
                os.setuid(4321)
                function()
                status = 0
            finally:
                if status:
                    traceback.print_exc()
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    return run
