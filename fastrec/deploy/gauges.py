"""What the service tells Prometheus about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fastrec.deploy.pool import Pool
from fastrec.deploy.recorder import Recorder

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Gauges:
    """Counters of answers and refusals, their latency, and the state of the queue and the log."""

    def __init__(self, pool: Pool, recorder: Recorder | None) -> None:
        self._registry = CollectorRegistry()
        self.answers = Counter("fastrec_answers", "Pictures answered", ["label"], registry=self._registry)
        self.refusals = Counter("fastrec_refusals", "Pictures refused", ["code"], registry=self._registry)
        self.seconds = Histogram(
            "fastrec_answer_seconds", "From bytes to answer", buckets=_SECONDS, registry=self._registry
        )
        self._registry.register(_Now(pool, recorder))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self._registry)


class _Now(Collector):
    """Figures that others keep, read at the moment of asking."""

    def __init__(self, pool: Pool, recorder: Recorder | None) -> None:
        self._pool, self._recorder = pool, recorder

    def collect(self) -> list[Metric]:
        found: list[Metric] = [GaugeMetricFamily("fastrec_jobs", "Requests running or waiting", self._pool.jobs)]
        if log := self._recorder:
            found += [
                GaugeMetricFamily("fastrec_log_waiting", "Rows not yet written", log.waiting),
                GaugeMetricFamily("fastrec_log_failing", "1 while the log cannot be written", float(log.failing)),
                CounterMetricFamily("fastrec_log_dropped", "Rows lost", log.dropped),
            ]
        return found
