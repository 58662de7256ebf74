"""Options that every command takes, and the settings they lead to.

A global option may stand before the command or after it: `lumenstream --network testnet status`, `lumenstream status --network
testnet`. Rooms are not imported here, so that `lumenstream --help` is quick.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from lumenstream.settings import Settings

PANEL_PIPELINE: Final = "Run the pipeline"
PANEL_ROLES: Final = "Run one role"
PANEL_HISTORY: Final = "Keep history whole"
PANEL_LOOK: Final = "Look at it"
PANEL_LEDGERS: Final = "Ledgers and parts"
_PANEL_GLOBAL: Final = "Settings of every command (flag > LUMENSTREAM_* > .env > default)"


class GlobalOption(NamedTuple):
    """A flag that sets one leaf of the settings tree; `setting` is its path joined by two underscores."""

    setting: str
    flag: str
    kind: Any
    help: str


GLOBAL_OPTIONS: Final = (
    GlobalOption("database__url", "--database-url", str, "libpq connection string of the database"),
    GlobalOption("kafka__bootstrap", "--kafka-bootstrap", str, "Kafka bootstrap servers, host:port, comma separated"),
    GlobalOption("kafka__topic_prefix", "--topic-prefix", str, "put in front of every topic and consumer group"),
    GlobalOption("network__name", "--network", str, "pubnet, testnet, sandbox, or any name with a passphrase"),
    GlobalOption("network__passphrase", "--network-passphrase", str, "passphrase of a network we do not know by name"),
    GlobalOption("log__level", "--log-level", Literal["debug", "info", "warning", "error"], "least level that is logged"),
    GlobalOption("log__format", "--log-format", Literal["console", "json"], "for eyes or for machines"),
)


def global_parameters() -> list[inspect.Parameter]:
    """The global options as keyword parameters, for the signature that typer reads."""
    return [
        inspect.Parameter(
            option.setting,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                option.kind | None,
                typer.Option(option.flag, help=option.help, rich_help_panel=_PANEL_GLOBAL, show_default=False),
            ],
        )
        for option in GLOBAL_OPTIONS
    ]


def with_global_options(function: Callable[..., None]) -> Callable[..., None]:
    """`function(ctx, ...)` with the global options added; their values are collected in `ctx.obj`."""
    own = inspect.signature(function, eval_str=True)
    parameters = [*own.parameters.values(), *global_parameters()]

    @functools.wraps(function)
    def run(ctx: typer.Context, **values: Any) -> None:
        given = {option.setting: values.pop(option.setting) for option in GLOBAL_OPTIONS}
        ctx.obj = {**(ctx.obj or {}), **{setting: value for setting, value in given.items() if value is not None}}
        function(ctx, **values)

    run.__dict__["__signature__"] = own.replace(parameters=parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def command(app: typer.Typer, name: str, panel: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command under a heading of `lumenstream --help`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, help=_flowing(function.__doc__ or ""), rich_help_panel=panel)(with_global_options(function))
        return function

    return register


def _flowing(text: str) -> str:
    """A docstring whose paragraphs wrap where the terminal ends, not where the source does. Each example begins a line."""
    return re.sub(r"(?<!\n)\n(?!\n|Example:)", " ", inspect.cleandoc(text))


def flags_of(ctx: typer.Context, **flags: Any) -> dict[str, Any]:
    """Every flag given on this command line, by setting."""
    return {**(ctx.obj or {}), **{setting: value for setting, value in flags.items() if value is not None}}


def settings_of(ctx: typer.Context, **flags: Any) -> Settings:
    """The settings in force: the command's own flags, the global ones, environment, `.env`, defaults."""
    from lumenstream.settings import load_settings

    return load_settings(**flags_of(ctx, **flags))


def refuse(ctx: typer.Context, *names: str, where: str, hint: str = "leave it out") -> None:
    """ConfigurationError when one of these options, by the command's parameters, was given although it does nothing here."""
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name in names and (source := ctx.get_parameter_source(parameter.name)) and source.name == "COMMANDLINE"
    ]
    if given:
        from lumenstream.errors import ConfigurationError

        raise ConfigurationError(f"{', '.join(given)} would do nothing {where}", hint=hint)


def start_logging(settings: Settings, role: str) -> None:
    """Logs of this process, and reports of its defects, bound to its role."""
    from lumenstream import logs, tracker

    logs.configure(settings.log, role)
    tracker.start(settings.tracker, role)
