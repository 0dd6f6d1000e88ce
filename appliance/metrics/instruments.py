"""What is counted as it happens, in a registry of our own: nothing is registered anywhere else, and nothing is global.

Names follow the conventions of Prometheus: base units, `_total` for what only grows. Sessions are named by their id; no
phone number, no name of a person and no content ever becomes a label.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics

from appliance.model import PairingState, PairMethod
from appliance.sessions.reasons import DisconnectReason

OUTCOMES: Final = tuple(state for state in PairingState if state.final)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""A loop that is 50 ms late is felt, one that is a second late is ill."""
RECOVERY_BUCKETS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""45 s is what a connection that went silent may take."""
CODE_BUCKETS: Final = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
LINK_BUCKETS: Final = (5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)
"""A code lives 160 s; an attempt ends after 300 s."""
REDIS_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)
"""A local Redis answers within a millisecond; after 2 s it counts as away."""
STORE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""After 30 s without a byte a request is given up."""


class Instruments:
    """Counters and histograms, each with every label that it can have, so that a first event is seen as an increase."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which says no more than a restart does
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="amda", registry=self.registry)
        self.disconnections = self._counter("disconnections", "Connections to WhatsApp that were lost.", "reason")
        self.session_disconnections = self._counter(
            "session_disconnections", "Connections to WhatsApp that a session has lost.", "session"
        )
        self.recovery = self._histogram("recovery", "From the loss of a connection until it is back.", RECOVERY_BUCKETS)
        self.pairings = self._counter("pairings", "Attempts to link a session that have ended.", "method", "outcome")
        self.pairing_code = self._histogram(
            "pairing_code", "From the request of a link until its first code is shown.", CODE_BUCKETS
        )
        self.pairing_link = self._histogram(
            "pairing_link", "From the request of a link until the session is linked.", LINK_BUCKETS
        )
        self.loop_lag = self._histogram("loop_lag", "How much later than asked the daemon's loop runs.", LAG_BUCKETS)
        self.redis = self._histogram("redis_call", "How long Redis takes to answer.", REDIS_BUCKETS)
        self.store = Histogram(
            "amda_store_call_seconds",
            "How long the object store (S3 or a folder) takes; of `get`, until the first bytes.",
            ("store", "operation"),
            buckets=STORE_BUCKETS,
            registry=self.registry,
        )
        self.store_failures = self._counter(
            "store_failures", "Calls of the object store that have failed.", "store", "operation"
        )
        for reason in DisconnectReason:
            self.disconnections.labels(reason=reason.value)
        for method in PairMethod:
            for outcome in OUTCOMES:
                self.pairings.labels(method=method.value, outcome=outcome.value)

    def store_called(self, store: str, operation: str, seconds: float, *, failed: bool) -> None:
        """Callback of the media room."""
        self.store.labels(store=store, operation=operation).observe(seconds)
        failures = self.store_failures.labels(store=store, operation=operation)
        if failed:
            failures.inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"amda_{name}_total", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"amda_{name}_seconds", text, buckets=buckets, registry=self.registry)
