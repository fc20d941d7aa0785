"""A span for each turn, when OpenTelemetry is configured by its own environment variables.

Without these nothing is imported, and nothing is done.
"""

import logging
from collections.abc import Mapping
from typing import Any

from actors.session.reports import TurnReport

from . import __version__
from .requests import Known

__all__ = ["Traces", "open_traces"]

log = logging.getLogger("app")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
MOST_PARENTS = 10_000
SERVICE = "greenroom"


def open_traces(environment: Mapping[str, str], provider: str) -> "Traces | None":
    """None if nobody asked for traces, or if what they need is not installed."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    wanted = exporter in ("otlp", "console") or any(environment.get(name) for name in ENDPOINTS)
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not wanted or exporter == "none" or disabled:
        return None
    try:
        return Traces(provider, console=exporter == "console", environment=environment)
    except ImportError as error:
        log.warning("no traces: install them with: pip install 'greenroom[otel]' (%s)", error)
        return None


class Traces:
    """Spans are made when turns have ended, so that a turn costs nothing while it runs."""

    def __init__(self, provider: str, *, console: bool, environment: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exporter: Any
        if console:
            import sys

            exporter = ConsoleSpanExporter(out=sys.stderr)
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
        name = environment.get("OTEL_SERVICE_NAME") or SERVICE
        resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._provider_name = provider
        self._parents: dict[str, dict[str, str]] = {}

    def began(self, turn_id: str, known: Known) -> None:
        """The turn belongs to the trace that its request came with, if it came with one."""
        carried = {
            name.decode(): value.decode("latin-1")
            for name, value in known.headers
            if name in (b"traceparent", b"tracestate")
        }
        if "traceparent" in carried and len(self._parents) < MOST_PARENTS:
            self._parents[turn_id] = carried

    def ended(self, report: TurnReport) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        parent = self._propagator.extract(self._parents.pop(report.turn_id, {}))
        model = report.model or report.usage.model
        began = int(report.started_at * 1e9)
        span = self._tracer.start_span(
            f"chat {model}" if model else "chat",
            parent,
            SpanKind.CLIENT,
            self._attributes(report, model),
            start_time=began,
        )
        if report.outcome == "failed":
            span.set_status(StatusCode.ERROR, report.error)
        span.end(began + int(report.seconds * 1e9))

    def _attributes(self, report: TurnReport, model: str | None) -> dict[str, Any]:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.conversation.id": report.session_id,
            "gen_ai.request.model": model,
            "gen_ai.request.stream": True,
            "gen_ai.response.model": report.usage.model,
            "gen_ai.response.time_to_first_chunk": report.first_seconds,
            "gen_ai.usage.input_tokens": report.usage.input_tokens,
            "gen_ai.usage.output_tokens": report.usage.output_tokens,
            "error.type": report.error,
            "greenroom.turn.id": report.turn_id,
            "greenroom.turn.outcome": report.outcome,
        }
        return {name: value for name, value in attributes.items() if value is not None}

    def close(self) -> None:
        """Send what has not been sent. Blocks, for a few seconds at most."""
        self._provider.shutdown()
