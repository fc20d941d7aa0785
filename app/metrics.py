"""`/metrics`, for Prometheus: numbers, and no names of sessions.

What the parts count already is read when it is asked for; only turns are counted here, as they end.
Names and buckets of the OpenTelemetry conventions for generative AI, where these have them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import trio
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from quart import Blueprint, Response

from actors import CellStatistics
from actors.greenroom import Greenroom
from actors.session.reports import TurnReport
from actors.stores import DurationsSummary

from . import __version__
from .idempotency import Answers
from .requests import Requests

__all__ = ["Metrics", "routes"]

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**n for n in range(14))
MOST_MODELS = 50  # that are told apart: their names come from who asks
OPERATION = {"gen_ai_operation_name": "chat"}


class Metrics:
    """What is counted as it happens: a few steps at the end of each turn."""

    def __init__(self, provider: str = "") -> None:
        self.registry = CollectorRegistry()
        self._provider = provider
        self._models: set[str] = set()
        turn = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
        self._ended = Counter(
            "greenroom_turns_ended",
            "Turns that have ended, by how",
            ("outcome",),
            registry=self.registry,
        )
        self._errors = Counter(
            "greenroom_turn_errors",
            "Turns that have failed, by the type of their error",
            ("error_type",),
            registry=self.registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a turn, by their type; estimated where no provider has counted them",
            (*turn, "gen_ai_token_type"),
            buckets=TOKENS,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "How long a turn took",
            (*turn, "error_type"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From the beginning of a turn until the first of its answer was on disk and shown",
            turn,
            buckets=SECONDS,
            registry=self.registry,
        )

    def turn_ended(self, report: TurnReport) -> None:
        model = self._named(report.model or report.usage.model or "")
        turn = {**OPERATION, "gen_ai_provider_name": self._provider, "gen_ai_request_model": model}
        self._ended.labels(report.outcome).inc()
        if report.error is not None:
            self._errors.labels(report.error).inc()
        self._seconds.labels(**turn, error_type=report.error or "").observe(report.seconds)
        if report.first_seconds is not None:
            self._first.labels(**turn).observe(report.first_seconds)
        for kind, tokens in (
            ("input", report.usage.input_tokens),
            ("output", report.usage.output_tokens),
        ):
            self._tokens.labels(**turn, gen_ai_token_type=kind).observe(tokens)

    def _named(self, model: str) -> str:
        if model not in self._models and len(self._models) == MOST_MODELS:
            return "other"
        self._models.add(model)
        return model


def routes(
    greenroom: Greenroom, answers: Answers, requests: Requests, metrics: Metrics
) -> Blueprint:
    page = Blueprint("metrics", __name__)
    metrics.registry.register(_Live(greenroom, answers, requests))

    @page.get("/metrics")
    async def exposition() -> Response:
        # Here and not in a thread: the parts are asked, which live in this one.
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return page


class _Live(Collector):
    """What the parts know of themselves, read at the moment at which it is asked for."""

    def __init__(self, greenroom: Greenroom, answers: Answers, requests: Requests) -> None:
        self._greenroom = greenroom
        self._answers = answers
        self._requests = requests

    def describe(self) -> Iterable[Metric]:
        return ()  # or registering it would ask before anybody has

    def collect(self) -> Iterable[Metric]:
        yield _gauge("greenroom_info", "The version that runs", {(__version__,): 1}, "version")
        yield from self._actors()
        yield from self._turns()
        yield from self._disk()
        yield from self._http()
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield _gauge("greenroom_tasks", "Trio tasks that live", {(): tasks})

    def _actors(self) -> Iterable[Metric]:
        statistics = self._greenroom.statistics()
        kinds: dict[str, list[CellStatistics]] = {}
        for cell in statistics.cells:
            kinds.setdefault(cell.address.partition("/")[0], []).append(cell)
        live = {(kind,): len(cells) for kind, cells in kinds.items()}
        waiting = {(kind,): sum(cell.depth for cell in cells) for kind, cells in kinds.items()}
        deepest = {(kind,): max(cell.depth for cell in cells) for kind, cells in kinds.items()}
        yield _gauge("greenroom_actors", "Actors in memory", live, "kind")
        yield _gauge("greenroom_mailbox_depth", "Messages that wait", waiting, "kind")
        yield _gauge("greenroom_mailbox_depth_max", "In the fullest mailbox", deepest, "kind")
        counts = {
            "messages": ("Messages that were handled", statistics.handled),
            "activations": ("Actors that were brought into memory", statistics.activations),
            "actor_restarts": ("Restarts after a crash", statistics.restarts),
            "dead_letters": ("Messages that nobody took", statistics.dead_letters),
        }
        for name, (text, number) in counts.items():
            yield _counter(f"greenroom_{name}", text, {(): number})

    def _turns(self) -> Iterable[Metric]:
        greenroom = self._greenroom
        feeds = [feed for feed in greenroom.feeds if not feed.closed]
        oldest = max((feed.unshown_seconds for feed in feeds), default=0.0)
        lags = greenroom.feeds.lags.summary()
        started = {(): greenroom.turns_started}
        yield _counter("greenroom_turns_started", "Turns that have begun", started)
        yield _gauge("greenroom_turns_running", "Turns at work", {(): len(greenroom.running())})
        yield _gauge("greenroom_feeds", "Feeds of turns that are open", {(): len(feeds)})
        yield _summary("greenroom_feed_lag_seconds", "From being said to being shown", {(): lags})
        yield _gauge("greenroom_feed_lag_now_seconds", "Of the oldest unshown", {(): oldest})

    def _disk(self) -> Iterable[Metric]:
        journal, answers = self._greenroom.journal_statistics(), self._answers.statistics()
        writers = {
            ("records",): self._greenroom.record_statistics(),
            ("journal",): journal.writer,
            ("answers",): answers.writer,
        }
        took = {names: writer.commits for names, writer in writers.items()}
        busy = {names: writer.busy_seconds for names, writer in writers.items()}
        failed = {names: writer.failures for names, writer in writers.items()}
        text = "Writing a batch and flushing it"
        yield _summary("greenroom_flush_seconds", text, took, "writer")
        yield _gauge("greenroom_flush_now_seconds", "Of the batch that is written", busy, "writer")
        yield _counter("greenroom_flush_failures", "Batches that were refused", failed, "writer")
        yield _counter("greenroom_journal_entries", "Entries written", {(): journal.entries})
        yield _gauge("greenroom_journal_bytes", "Size of the journal", {(): journal.bytes})

    def _http(self) -> Iterable[Metric]:
        requests = self._requests
        statuses = {(str(status),): number for status, number in requests.statuses.items()}
        yield _counter("greenroom_http_responses", "Requests answered", statuses, "status")
        yield _gauge("greenroom_http_requests_open", "Being answered", {(): requests.open})
        yield _gauge(
            "greenroom_streams_open", "Event streams that are open", {(): requests.streams}
        )


Values = Mapping[Any, Any]  # by the tuple of the labels' values


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for names, value in values.items():
        family.add_metric(names, value)
    return family


def _summary(name: str, text: str, values: Mapping[Any, DurationsSummary], *labels: str) -> Metric:
    family = SummaryMetricFamily(name, text, labels=labels)
    for names, value in values.items():
        family.add_metric(names, value.count, value.total)
    return family
