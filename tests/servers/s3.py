"""An S3 on this machine: moto's server in a thread, for sources that read from object stores."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import httpx
import obstore
from obstore.store import S3Store

REGION = "us-east-1"
KEY_ID = "test"
SECRET = "not-a-secret"


class S3Server:
    """Use as a context manager; then `url` is its endpoint. Credentials are KEY_ID and SECRET; without any, access is denied."""

    def __enter__(self) -> Self:
        from moto.server import ThreadedMotoServer  # takes half a second, which only who asks for it should pay

        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, port = self._server.get_host_and_port()
        self.buckets: set[str] = set()
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()

    def bucket(self, name: str, objects: Iterable[tuple[str, bytes]] = ()) -> S3Store:
        """Make a bucket with these objects."""
        self.buckets.add(name)
        httpx.put(f"{self.url}/{name}").raise_for_status()
        options: dict[str, Any] = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "region": REGION, "endpoint": self.url}
        store = S3Store(name, client_options={"allow_http": True}, **options)
        for key, data in objects:
            obstore.put(store, key, data)
        return store
