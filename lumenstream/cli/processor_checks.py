"""The doctor's look at processors: those that the database requires, and by Kafka's consumer groups the workers that run them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from lumenstream import kafka
from lumenstream.cli.checkresult import Level, Result
from lumenstream.errors import UnreachableError
from lumenstream.settings import Settings
from lumenstream.status import database_status
from schemas.processors import PROCESSORS

_LAG_WARN_LEDGERS: Final = 100


def processors(settings: Settings) -> Iterator[Result]:
    """What is required and known, whether somebody runs it, and how far it got. The rest needs a database that answers."""
    known = set(PROCESSORS)
    if unknown := set(settings.process.processors) - known:
        yield Result(Level.FAIL, "processors", f"unknown: {_listed(unknown)}", f"there are {_listed(known)}")
    found = database_status(settings.database)
    if found.error:
        return
    required = set(found.required_processors)
    if required - known:
        text = f"the sink waits for {_listed(required - known)}, unknown here"
        yield Result(Level.FAIL, "required", text, "upgrade this program")
    elif not required:
        yield Result(Level.FAIL, "required", "the database requires no processor", "run lumenstream migrate")
    else:
        yield Result(Level.OK, "required", _listed(required))
    yield from _workers(settings, required)
    yield Result(Level.OK, "cursor", f"ledger {found.cursor}, published to {found.published}, {found.ledgers} ledgers stored")
    if found.cursor - found.published > _LAG_WARN_LEDGERS:
        text = f"the publisher is {found.cursor - found.published} ledgers behind"
        yield Result(Level.WARN, "lag", text, "is it running? lumenstream status")


def _workers(settings: Settings, required: set[str]) -> Iterator[Result]:
    """Every group of workers that has members, on whatever hosts; then the required processors that none of them runs."""
    from processors.worker import group_prefix, processors_of_group

    try:
        groups = kafka.group_members(settings.kafka, group_prefix(settings))
    except UnreachableError as error:
        yield Result(Level.WARN, "workers", f"cannot tell which processors run: {error}", error.hint)
        return
    run: set[str] = set()
    for group, members in groups.items():
        if members and (names := processors_of_group(settings, group)):
            run |= names
            yield Result(Level.OK, "workers", f"group {group}: {members} worker{'s' if members > 1 else ''}")
    if missing := required - run:
        mend = (
            "lumenstream process"
            if missing >= set(PROCESSORS)
            else f"lumenstream process --processors {','.join(sorted(missing))}"
        )
        yield Result(Level.WARN, "workers", f"nobody runs {_listed(missing)}: the sink waits for them", f"start a worker: {mend}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
