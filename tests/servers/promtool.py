"""Prometheus' own checker of alert rules: the one on the PATH, else the one in Debian's package, unpacked into `.cache/`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.servers.cache import Unavailable, cached_directory

DOWNLOAD_TIMEOUT_S: Final = 300


def promtool() -> Path:
    """Its path. Unavailable, with the reason, where it is neither installed nor to be had from Debian."""
    if found := shutil.which("promtool"):
        return Path(found)
    return cached_directory("promtool", _unpack) / "promtool"


def _unpack(root: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("promtool is not installed and this is not a Debian")
    if not _download(root):
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
        if not _download(root):
            raise Unavailable("Debian's package prometheus could not be downloaded")
    (package,) = root.glob("prometheus_*.deb")
    unpacked = root / "package"
    subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], capture_output=True, timeout=DOWNLOAD_TIMEOUT_S, check=True)
    (unpacked / "usr/bin/promtool").rename(root / "promtool")
    shutil.rmtree(unpacked)  # with the server, which is larger than all that is kept
    package.unlink()


def _download(root: Path) -> bool:
    command = ["apt-get", "download", "-qq", "prometheus"]
    try:
        return subprocess.run(command, cwd=root, capture_output=True, timeout=DOWNLOAD_TIMEOUT_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
