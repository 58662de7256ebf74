"""An S3 for the tests of a module, with credentials in the environment as a lake's reader expects them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.s3 import KEY_ID, SECRET, S3Server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield server
