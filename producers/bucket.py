"""Buckets of S3, GCS and Azure, opened through obstore: for data lakes and history archives.

Credentials come from the environment that each provider's tools use (AWS_*, GOOGLE_*, AZURE_*), never from our settings. A call
is tried once; whoever calls knows whether to try again.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from lumenstream import masking
from lumenstream.errors import ConfigurationError
from lumenstream.settings import ArchiveSettings, LakeSettings

SCHEMES: Final = ("s3", "gs", "az")
_CONNECT_TIMEOUT: Final = timedelta(seconds=5)
_MAX_ERROR_CHARACTERS: Final = 300


def open_bucket(settings: LakeSettings | ArchiveSettings, what: str, hint: str) -> ObjectStore:
    """The bucket and path that a URL names; nothing is asked of a server yet. ConfigurationError, which calls it `what`."""
    timeout = timedelta(seconds=settings.timeout_seconds)
    options: dict[str, Any] = {
        "region": settings.region,
        "base_url" if urlsplit(settings.url).scheme == "gs" else "endpoint": settings.endpoint,
        "skip_signature": settings.anonymous,
    }
    try:
        return from_url(
            settings.url,
            client_options={
                "timeout": timeout,
                "connect_timeout": _CONNECT_TIMEOUT,
                "allow_http": settings.endpoint.startswith("http://"),
            },
            retry_config={"max_retries": 0, "retry_timeout": timeout},
            **{name: value for name, value in options.items() if value},
        )
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"{what} cannot be opened: {plain(error)}", hint=hint) from error


def access_denied(error: Exception) -> bool:
    """Whether it is for want of credentials or rights, so that trying again is no use."""
    return isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError))


def plain(error: Exception) -> str:
    """The first part of obstore's text, on one line, without secrets and without queries, which may hold signatures."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    return masking.mask_text(re.sub(r"\?\S+", "", text))[:_MAX_ERROR_CHARACTERS]
