"""kubectl, as the peer: whole processes, as its users run them."""

from __future__ import annotations

import asyncio
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tools.bench.work import WrongAnswerError


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one pod. Each method returns its seconds; whether the bytes are right nobody has looked at."""

    kubeconfig: str
    namespace: str
    pod: str

    async def cp_up(self, local: Path, remote: str) -> float:
        """Copy a file or a directory into the pod."""
        return await self._timed(["cp", str(local), f"{self.namespace}/{self.pod}:{remote}"])

    async def cp_down(self, remote: str, local: Path) -> float:
        """Copy a file or a directory out of the pod."""
        return await self._timed(["cp", f"{self.namespace}/{self.pod}:{remote}", str(local)])

    async def stream_up(self, local: Path, remote: str) -> float:
        """Send a file's bytes to a bare ``cat``."""
        argv = ["exec", "-i", "-n", self.namespace, self.pod, "--", "sh", "-c", 'cat > "$1"', "sh", remote]
        return await self._timed(argv, source=local)

    async def stream_down(self, remote: str, local: Path) -> float:
        """Take a file's bytes from a bare ``cat``."""
        return await self._timed(["exec", "-n", self.namespace, self.pod, "--", "cat", remote], sink=local)

    async def _timed(self, arguments: list[str], source: Path | None = None, sink: Path | None = None) -> float:
        return await asyncio.to_thread(self._run, arguments, source or Path("/dev/null"), sink or Path("/dev/null"))

    def _run(self, arguments: list[str], source: Path, sink: Path) -> float:
        argv = ["kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        with source.open("rb") as stdin, sink.open("wb") as stdout:
            begun = time.perf_counter()
            done = subprocess.run(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False)
            seconds = time.perf_counter() - begun
        if done.returncode:
            raise WrongAnswerError(f"kubectl {arguments[0]}: {done.stderr.decode(errors='replace')[:500]}")
        return seconds
