"""Many small files into a pod and out of it, against kubectl."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import time
import zipfile
from pathlib import Path

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from tests.cluster.namespace import Cluster
from tools.bench.kubectl import Kubectl
from tools.bench.material import hash_of, same, save, small_files
from tools.bench.pods import GUEST, ROOT, run
from tools.bench.report import Row
from tools.bench.turns import carry_in_turns, row
from tools.bench.work import MIB, WrongAnswerError

DIRECTORY = "many"


async def compare(cluster: Cluster, scratch: Path, count: int, rounds: int) -> list[Row]:
    """Carry a directory of files of 1 KB up as a batch and down as a zip; ``scratch`` is a directory of this
    machine."""
    local, saved, zipped = (scratch / name for name in ("many", "saved", "many.zip"))
    hashes = small_files(local, count)
    transport, kubectl = cluster.transport(GUEST), Kubectl(cluster.kubeconfig, cluster.namespace, GUEST)
    backend = ExecBackend(cluster.transport(GUEST), ROOT)
    turns = itertools.count()
    directory = DIRECTORY

    def another() -> str:
        """Name a new directory. Nothing is deleted between two turns: for five seconds ext4 looks at every file that
        was, again for each new one, and whoever comes next would pay for it."""
        nonlocal directory
        directory = f"{DIRECTORY}-{next(turns)}"
        return directory

    async def up() -> float:
        here = another()
        begun = time.perf_counter()
        items = [BatchItem(SandboxPath(f"{here}/{name}"), (local / name).read_bytes()) for name in hashes]
        outcomes = await backend.write_batch(items)
        seconds = time.perf_counter() - begun
        if any(outcome.error for outcome in outcomes):
            raise WrongAnswerError("guest: not all of a batch was written")
        return seconds

    async def down() -> float:
        begun = time.perf_counter()
        archive = await backend.archive([SandboxPath(directory)], max_bytes=1024 * MIB, max_files=10 * count)
        await save(archive.__aiter__(), zipped)
        return time.perf_counter() - begun

    async def arrived_there(who: str) -> None:
        said = await run(transport, "sh", "-c", 'cd "$1" && sha256sum *', "sh", f"{ROOT}/{directory}")
        same({name: sha256 for sha256, name in map(str.split, said.splitlines())}, hashes, who)

    async def arrived_here(who: str) -> None:
        if who == "ours":
            same(_hashes_in(zipped), hashes, who)
            zipped.unlink()
        else:
            same({path.name: hash_of(path) for path in saved.iterdir()}, hashes, who)
            shutil.rmtree(saved)

    try:
        ups = {"ours": up, "kubectl cp": lambda: kubectl.cp_up(local, f"{ROOT}/{another()}")}
        up_timings = await carry_in_turns(ups, rounds, arrived_there)
        await up()
        downs = {"ours": down, "kubectl cp": lambda: kubectl.cp_down(f"{ROOT}/{directory}", saved)}
        down_timings = await carry_in_turns(downs, rounds, arrived_here)
    finally:
        await backend.aclose()
    return [
        row(f"{count} files of 1 KB up, one batch", up_timings, "ours", "kubectl cp", 1 / 3),
        row(f"{count} files of 1 KB down, as a zip", down_timings, "ours", "kubectl cp", 1 / 3),
    ]


def _hashes_in(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if not name.endswith("/")]
        return {Path(name).name: hashlib.sha256(archive.read(name)).hexdigest() for name in files}
