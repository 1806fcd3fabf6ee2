"""Runs in a container beside the one under test, on the same volume: answers what the suite asks of a directory.

Sent as source. What it needs of the suite, ``LocalInside``, comes over stdin too: a dict of modules (which want Python
3.10), then requests ``(method, arguments, keywords)``; each message is a pickle behind its length.
"""

import os
import pickle
import shutil
import struct
import sys
import types
from pathlib import Path


class Skip(Exception):
    """The directory cannot hold what was asked for."""


def skip(reason):
    raise Skip(reason)


def receive():
    head = sys.stdin.buffer.read(8)
    return pickle.loads(sys.stdin.buffer.read(struct.unpack("!Q", head)[0])) if len(head) == 8 else None


def send(message):
    data = pickle.dumps(message)
    sys.stdout.buffer.write(struct.pack("!Q", len(data)) + data)
    sys.stdout.buffer.flush()


def load(sources):
    """Make the suite's modules importable under their own names; of pytest they use ``skip`` alone."""
    sys.modules["pytest"] = types.ModuleType("pytest")
    sys.modules["pytest"].skip = skip
    for name, source in sources.items():
        packages = name.split(".")[:-1]
        for end in range(len(packages)):
            package = types.ModuleType(".".join(packages[: end + 1]))
            package.__path__ = []
            sys.modules.setdefault(package.__name__, package)
        module = sys.modules[name] = types.ModuleType(name)
        module.__package__ = ".".join(packages)
        exec(compile(source, name, "exec"), module.__dict__)
    return module


class Boxes:
    """One directory after the other: the last one is removed when the next is asked for."""

    def __init__(self, make, work):
        self._make = make
        self._work = Path(work)
        self._count = 0
        self._inside = None

    def __call__(self, method, arguments, keywords):
        if method == "new":
            return self._new()
        return getattr(self._inside, method)(*arguments, **keywords)

    def _new(self):
        base = self._work / f"box-{self._count}"
        shutil.rmtree(base, ignore_errors=True)
        self._count += 1
        base = self._work / f"box-{self._count}"
        os.mkdir(base)
        self._inside = self._make(base)
        return self._inside.root


def main(work):
    boxes = Boxes(load(receive()).LocalInside, work)
    while request := receive():
        try:
            send(("answer", boxes(*request)))
        except Skip as reason:
            send(("skip", str(reason)))
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            send(("error", error))


main(sys.argv[1])
