"""The explorer and the query page: files of our own, read once, served without anything from the internet."""

from __future__ import annotations

from importlib import resources
from typing import Final

from starlette.responses import Response

_TYPES: Final = {
    f"{page}.{ending}": kind
    for page in ("explorer", "query")
    for ending, kind in (("html", "text/html"), ("css", "text/css"), ("js", "text/javascript"))
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Pages:
    """The files of the pages by name."""

    def __init__(self) -> None:
        folder = resources.files("api") / "static"
        self._files = {name: (folder / name).read_bytes() for name in _TYPES}

    def find(self, name: str) -> Response | None:
        if name not in self._files:
            return None
        return Response(self._files[name], headers=_HEADERS, media_type=_TYPES[name])

    def page(self, name: str) -> Response:
        return Response(self._files[f"{name}.html"], headers=_HEADERS, media_type="text/html")
