"""Every example of docs/api.md is run on the API's test world, and its answer is what the document says."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from graphql import parse

from tests.integration.test_api_world import Api, api
from tests.plugins.paths import REPOSITORY

__all__ = ["api"]  # the fixture

DOCUMENT: Final = REPOSITORY / "docs" / "api.md"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEAST: Final = 12


def examples() -> list[tuple[str, str]]:
    """(query, answer as text) of each graphql block, which a json block follows."""
    blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
    found = []
    for (language, text), (following, answer) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "graphql":
            assert following == "json", f"no answer follows {text}"
            found.append((text, answer))
    return found


def test_the_python_example_prints_what_the_document_says(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
    (place,) = [index for index, (language, _) in enumerate(blocks) if language == "python"]
    (_, program), (language, printed) = blocks[place : place + 2]
    assert language == "text"
    exec(program.replace("http://localhost:8001", str(api.http.base_url)), {})
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(printed.splitlines())


def test_there_are_examples() -> None:
    assert len(examples()) >= LEAST


@pytest.mark.parametrize("number", range(LEAST))
def test_the_answer_is_what_the_document_says(api: Api, number: int) -> None:
    for query, answer in examples()[number::LEAST]:
        parse(query)
        found: dict[str, Any] = api.run(query)
        assert json.loads(answer) == found, json.dumps(found, indent=2, ensure_ascii=False)
