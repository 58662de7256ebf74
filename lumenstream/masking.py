"""The settings in force as text: every leaf with its value and its origin, secrets masked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr

from lumenstream.settings import Settings

MASK: Final = "********"
_PASSWORD_WORD: Final = re.compile(r"\b(password|sslpassword)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_PASSWORD_PARAMETER: Final = re.compile(
    r"([?&](?:password|sslpassword|secret|(?:access[-_]?)?token|(?:api[-_]?)?key)=)[^&#]*", re.IGNORECASE
)


class Leaf(NamedTuple):
    """One setting: `kafka.bootstrap`, its printable value, `flag`, `environment`, `.env` or `default`, and what it is."""

    path: str
    value: Any
    origin: str
    description: str

    @property
    def variable(self) -> str:
        return variable_of(self.path)


def variable_of(path: str) -> str:
    """The environment variable of a setting."""
    return "LUMENSTREAM_" + path.upper().replace(".", "__")


def mask_text(text: str) -> str:
    """A connection string or URL without its password: user, host and the rest stay readable."""
    masked = _PASSWORD_PARAMETER.sub(rf"\g<1>{MASK}", text)
    if "://" not in masked:
        return _PASSWORD_WORD.sub(rf"\g<1>={MASK}", masked)
    netloc = urlsplit(masked).netloc
    user_info, at, host = netloc.rpartition("@")
    user, colon, _ = user_info.partition(":")
    return masked.replace(netloc, f"{user}:{MASK}@{host}", 1) if at and colon else masked


def server_of(url: str) -> str:
    """Scheme, host and port of an HTTP URL. No more may be shown: providers put keys into the user, the path or the query.

    Empty when it is no such URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"


def leaves(settings: Settings, flags: Mapping[str, Any]) -> Iterator[Leaf]:
    """Every setting in the order of the tree. `flags` are those given on the command line, by setting."""
    environment = {name.upper() for name in os.environ}
    env_file = Path(str(settings.model_config.get("env_file") or ".env"))
    in_file = {name.upper() for name in dotenv_values(env_file)} if env_file.is_file() else set()
    for section_name in type(settings).model_fields:
        section: BaseModel = getattr(settings, section_name)
        for name, field in type(section).model_fields.items():
            path = f"{section_name}.{name}"
            value = getattr(section, name)
            variables = {variable_of(path), variable_of(section_name)}
            if f"{section_name}__{name}" in flags:
                origin = "flag"
            elif variables & environment:
                origin = "environment"
            elif variables & in_file:
                origin = ".env"
            else:
                origin = "default"
            yield Leaf(path, _printable(path, value), origin, field.description or "")


def _printable(path: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return mask_text(secret) if path == "database.url" else (MASK if secret else "")
    if path == "producer.rpc_url":
        return value and (server_of(value) or MASK)
    if isinstance(value, str):
        return mask_text(value) if "://" in value else value
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value) if isinstance(value, Path) else value


def environment_of(settings: Settings) -> dict[str, str]:
    """Every setting as environment variables, secrets in clear: for child processes, whose command lines anyone can read."""
    variables: dict[str, str] = {}
    for section_name in type(settings).model_fields:
        section: BaseModel = getattr(settings, section_name)
        for name in type(section).model_fields:
            value = getattr(section, name)
            if value is None:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, tuple):
                value = ",".join(str(item) for item in value)
            variables[variable_of(f"{section_name}.{name}")] = str(value)
    return variables
