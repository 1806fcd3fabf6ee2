"""What Prometheus reads, on a registry of its own."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devbox_mcp.tally import Tally

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
#: What a label says for a request that no route took.
UNROUTED = "none"


class Measures:
    """The numbers of one server. Labels are route templates, methods and statuses: sets that have an end."""

    def __init__(self, tally: Tally | None = None) -> None:
        """``tally`` is what the floors below count."""
        self.registry = CollectorRegistry()
        if tally is not None:
            self.registry.register(_Events(tally))
        names = ("route", "method", "status")
        self._requests = Counter("devbox_mcp_requests", "Requests answered", names, registry=self.registry)
        self._received = Counter("devbox_mcp_received_bytes", "Bytes of bodies", ("route",), registry=self.registry)
        self._sent = Counter("devbox_mcp_sent_bytes", "Bytes of answers", ("route",), registry=self.registry)
        self._seconds = Histogram(
            "devbox_mcp_request_seconds",
            "From a request's head to the end of its answer",
            ("route", "method"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._under_way = Gauge("devbox_mcp_requests_under_way", "Requests not yet answered", registry=self.registry)
        self._limited = Counter("devbox_mcp_limited", "Requests refused by a limit", ("limit",), registry=self.registry)
        self._stalled = Counter("devbox_mcp_stalled", "Bodies that stopped arriving", registry=self.registry)
        self._devboxes = Gauge(
            "devbox_mcp_devboxes_answering", "Devboxes that answered when last asked", registry=self.registry
        )
        # looking a child up by its labels costs more than all the rest of counting
        self._known: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[tuple[str, str], tuple[Histogram, Counter, Counter]] = {}

    def begun(self) -> None:
        """Count a request that is under way."""
        self._under_way.inc()

    def ended(self, route: str | None, method: str, status: int, received: int, sent: int, seconds: float) -> None:
        """Count a request that is over; ``seconds`` is how long it took."""
        self._under_way.dec()
        route = route or UNROUTED
        method = method if method in _METHODS else "other"
        counter = self._known.get((route, method, status))
        if counter is None:
            counter = self._known[route, method, status] = self._requests.labels(route, method, str(status))
        counter.inc()
        timed = self._timed.get((route, method))
        if timed is None:
            timed = (self._seconds.labels(route, method), self._received.labels(route), self._sent.labels(route))
            self._timed[route, method] = timed
        timed[0].observe(seconds)
        if received:
            timed[1].inc(received)
        if sent:
            timed[2].inc(sent)

    def limited(self, limit: str) -> None:
        """Count a request that a limit refused."""
        self._limited.labels(limit).inc()

    def stalled(self) -> None:
        """Count a body that stopped arriving."""
        self._stalled.inc()

    def answering(self, devboxes: int) -> None:
        """Tell how many devboxes answered."""
        self._devboxes.set(devboxes)


class _Events(Collector):
    """Asks a tally when Prometheus asks."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "devbox_mcp_events", "Sessions, chunks and retries behind the devboxes", labels=("event",)
        )
        for event, count in self._tally.counts.items():
            family.add_metric((event,), count)
        yield family


class Metrics:
    """The endpoint that Prometheus reads. It tells of all callers, so who may read it is for the gateway to say."""

    def __init__(self, measures: Measures) -> None:
        self._registry = measures.registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encode, content_type = choose_encoder(Headers(scope=scope).get("accept", ""))
        await Response(encode(self._registry), media_type=content_type)(scope, receive, send)
