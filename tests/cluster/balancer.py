"""What a Service does, on loopback: one address before several ports, of which any may go away."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Balancer:
    """Connections to ``port`` go to the first of ``targets``, ports of this machine by name. ``used`` tells by name
    how many connections each got. ``drop`` ends what goes to one, as the death of a pod does."""

    def __init__(self, targets: dict[str, int]) -> None:
        self.targets = dict(targets)
        self.used = dict.fromkeys(targets, 0)
        self._open: dict[str, list[socket.socket]] = {name: [] for name in targets}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for name in list(self.targets):
            self.drop(name)

    def drop(self, name: str) -> None:
        """Send nothing more to a target, and break what is open to it."""
        with self._lock:
            self.targets.pop(name)
            broken = self._open.pop(name)
        for connection in broken:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with self._lock:
                name, port = next(iter(self.targets.items()))
            with socket.create_connection(("127.0.0.1", port)) as server:
                with self._lock:
                    self._open[name] += [client, server]
                    self.used[name] += 1
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
