"""Show the state of jobs, workers and disk, and the sums that workers keep in the queue server."""

import shutil
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from workers.queue.client import JobClient


class FleetCollector(Collector):
    """Everything that is not of this process alone; it is asked for at each scrape."""

    def __init__(self, queue: JobClient, data_dir: Path) -> None:
        self._queue = queue
        self._data_dir = data_dir

    def collect(self) -> Iterator[Metric]:
        """Yield all families, those without samples too.

        Raises:
            redis.exceptions.RedisError: the queue server does not answer.
        """
        yield from self._jobs()
        yield from self._workers()
        yield from self._disk()
        yield from self._sums()

    def _jobs(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("darefine_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._queue.counts().items():
            jobs.add_metric([state.value], count)
        yield jobs
        yield GaugeMetricFamily(
            "darefine_oldest_queued_seconds",
            "How long the oldest queued job has waited.",
            value=self._queue.oldest_waiting_s(),
        )

    def _workers(self) -> Iterator[Metric]:
        workers = self._queue.workers()
        ready = sum(worker.is_ready for worker in workers)
        yield GaugeMetricFamily("darefine_workers", "Workers whose model is loaded.", value=ready)
        states = GaugeMetricFamily("darefine_worker_states", "Live workers by state.", labels=["state"])
        for state, count in self._queue.worker_states().items():
            states.add_metric([state], count)
        yield states
        used, total = (
            GaugeMetricFamily(f"darefine_gpu_memory_{name}_bytes", words, labels=["worker", "device"])
            for name, words in (
                ("used", "Memory in use on a worker's GPU, by all processes, at the end of its last job."),
                ("total", "Memory of a worker's GPU."),
            )
        )
        for worker in workers:
            if worker.memory_used is not None and worker.memory_total is not None:
                used.add_metric([worker.name, worker.device or ""], worker.memory_used)
                total.add_metric([worker.name, worker.device or ""], worker.memory_total)
        yield from (used, total)

    def _disk(self) -> Iterator[Metric]:
        usage = shutil.disk_usage(self._data_dir)
        yield GaugeMetricFamily("darefine_disk_free_bytes", "Free under the data folder.", value=usage.free)
        yield GaugeMetricFamily(
            "darefine_disk_size_bytes", "Size of the data folder's disk.", value=usage.total
        )

    def _sums(self) -> Iterator[Metric]:
        for metric, by_labels in self._queue.tallies().items():
            if not metric.buckets:
                counter = CounterMetricFamily(metric.name, metric.words, labels=metric.labels)
                for labels, parts in by_labels.items():
                    counter.add_metric(labels, parts.get("", 0.0))
                yield counter
                continue
            ends = [*(str(float(end)) for end in metric.buckets), "+Inf"]
            histogram = HistogramMetricFamily(metric.name, metric.words, labels=metric.labels)
            for labels, parts in by_labels.items():
                counts = accumulate(parts.get(str(number), 0.0) for number in range(len(ends)))
                buckets = [(end, count) for end, count in zip(ends, counts, strict=True)]
                histogram.add_metric(labels, buckets, parts.get("sum", 0.0))
            yield histogram
