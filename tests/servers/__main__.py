"""`python -m tests.servers up|down|status|env`: the developers' servers; `run COMMAND...`: a command on them.

`run` starts the servers unless they stand, names them to the command by LUMENSTREAM_* variables, and ends what it started.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from lumenstream.embedded.processes import ServerError
from tests.servers import standing
from tests.servers.cache import Unavailable

DEFAULT_HOURS = 4.0


def _print_environment(servers: standing.Standing) -> None:
    print(f"export LUMENSTREAM_TEST_KAFKA_BOOTSTRAP='{servers.bootstrap}'")
    print(f"export LUMENSTREAM_TEST_DATABASE_URL='{servers.database_url}'")


def _run(command: list[str], hours: float) -> int:
    stood_before = standing.read() is not None
    servers = standing.up(hours)
    try:
        environment = {
            **os.environ,
            "LUMENSTREAM_KAFKA__BOOTSTRAP": servers.bootstrap,
            "LUMENSTREAM_DATABASE__URL": servers.database_url,
        }
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        if not stood_before:
            standing.down()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "env", "keep", "run"])
    parser.add_argument("--hours", type=float, default=DEFAULT_HOURS, help="the servers end by themselves after so long")
    parser.add_argument("argv", nargs=argparse.REMAINDER, help="run: the command and its arguments")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "up":
                servers = standing.up(arguments.hours)
                print(f"# Kafka (pid {servers.kafka_pid}) and TimescaleDB (pid {servers.database_pid}), until {servers.stops_at}")
                _print_environment(servers)
            case "down":
                print("stopped" if standing.down() else "nothing was running")
            case "keep":
                standing.keep(arguments.hours)
            case "run":
                return _run(arguments.argv, arguments.hours)
            case _:
                found = standing.read()
                if found is None:
                    print("no servers: python -m tests.servers up", file=sys.stderr)
                    return 1
                if arguments.command == "status":
                    print(f"# Kafka (pid {found.kafka_pid}) and TimescaleDB (pid {found.database_pid}), until {found.stops_at}")
                _print_environment(found)
    except (ServerError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
