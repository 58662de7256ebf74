"""/status and /status.json: the pipeline at this moment, from the database and from the roles' own pages.

The answer is kept for a second, so that many who look cost the pipeline no more than one. Where the roles are: `status.targets`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from importlib import resources
from typing import Final

import orjson
from jinja2 import Environment, select_autoescape
from starlette.responses import Response

from lumenstream.settings import Settings
from lumenstream.status import Monitor, Snapshot, endpoints

KEPT_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.5  # before the first answer, so that it has rates
RESOLVE_SECONDS: Final = 10.0  # between two looks at where the roles are
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class StatusPages:
    """One monitor for everybody who looks at this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._monitor = Monitor(endpoints(settings), settings.database, gap_seconds=settings.status.gap_seconds)
        self._lock = asyncio.Lock()
        self._last: Snapshot | None = None
        self._taken_at = 0.0
        self._resolved_at = time.monotonic()
        text = (resources.files("api") / "templates" / "status.html").read_text(encoding="utf-8")
        self._template = Environment(autoescape=select_autoescape(default=True, default_for_string=True)).from_string(text)

    async def page(self) -> Response:
        """The snapshot as HTML. Always 200: what is wrong stands in it."""
        snapshot, nonce = await self._snapshot(), secrets.token_urlsafe(16)
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        body = self._template.render(snapshot=snapshot, network=self._settings.network.name, now=now, nonce=nonce)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return Response(body, media_type="text/html", headers=_HEADERS | {"Content-Security-Policy": policy})

    async def json(self) -> Response:
        """The same for programs."""
        body = orjson.dumps((await self._snapshot()).to_json())
        return Response(body, media_type="application/json", headers=_HEADERS)

    async def _snapshot(self) -> Snapshot:
        async with self._lock:
            if self._last is None or time.monotonic() - self._taken_at > KEPT_SECONDS:
                self._last = await asyncio.to_thread(self._take)
                self._taken_at = time.monotonic()
            return self._last

    def _take(self) -> Snapshot:
        if time.monotonic() - self._resolved_at > RESOLVE_SECONDS:
            self._monitor.targets = endpoints(self._settings)
            self._resolved_at = time.monotonic()
        return self._monitor.sample(SETTLE_SECONDS if self._last is None else 0.0)
