"""Traces of requests by OpenTelemetry, when a collector is set (extra `otel`): one span a request, one below it for each read.

A span says the path, the status, the request's id, the name of a read and its rows; never a query's text, variables or addresses.
The caller's trace goes on when the request has a `traceparent`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from lumenstream import __version__
from lumenstream.errors import ConfigurationError
from lumenstream.settings import ApiSettings

SERVICE: Final = "lumenstream-api"
EXPORT_SECONDS: Final = 5
_TRACES: Final = "/v1/traces"


class Span(Protocol):
    """What is told of a span after it began."""

    def set_attribute(self, key: str, value: Any) -> None: ...


class Tracer:
    """One per process, made by `tracer`."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigurationError(
                "api.traces_endpoint is set, but OpenTelemetry is missing", hint="pip install '.[otel]'"
            ) from error
        resource = Resource.create({"service.name": SERVICE, "service.version": __version__})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/").removesuffix(_TRACES) + _TRACES, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._extract = propagate.extract
        self._server, self._client = trace.SpanKind.SERVER, trace.SpanKind.CLIENT

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str], request_id: str) -> Iterator[Span]:
        """The span of a request, which the reads inside it are below."""
        attributes = {"http.request.method": method, "http.route": path, "lumenstream.request_id": request_id}
        with self._tracer.start_as_current_span(
            f"{method} {path}", self._extract(headers), self._server, attributes, record_exception=False
        ) as span:
            yield span

    @contextmanager
    def read(self, name: str) -> Iterator[Span]:
        attributes = {"db.system.name": "postgresql", "db.operation.name": name}
        with self._tracer.start_as_current_span(f"read {name}", None, self._client, attributes, record_exception=False) as span:
            yield span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def tracer(settings: ApiSettings) -> Tracer | None:
    """None without a collector. ConfigurationError without the extra."""
    return Tracer(settings.traces_endpoint, settings.traces_ratio) if settings.traces_endpoint else None
