"""The explorer in a real Chromium: search, every page, the live list, the keyboard, a phone, and both colour schemes."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.test_api_live import NEXT, commit
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    LAST,
    TO_ID,
    TRANSACTIONS,
    Api,
    api,
    fill,
    own_api,
    serving,
    text,
    transaction_hash,
)
from tests.plugins.browser import TIMEOUT_MS

__all__ = ["api", "own_api"]  # the fixtures

expect.set_options(timeout=TIMEOUT_MS)
HASH = transaction_hash(TO_ID).hex()
SENTENCES = (
    "issued",
    "was created by",
    "was merged into",
    "got signer",
    "set its high threshold to 3 (was 1)",
    "set its home domain to b.org",
    "set data entry “colour”",
    "set its flags: auth required, auth revocable",
    "changed the limit of its trustline for",
    "closed its trustline for shares of pool",
    "is sponsored by",
    "was authorized for",
    "lets",
)


def url_of(served: Api) -> str:
    return str(served.http.base_url).rstrip("/")


@pytest.mark.parametrize(
    ("term", "heading"),
    [(text(ALICE), text(ALICE)), (HASH.upper(), HASH), (str(LAST), f"Ledger {LAST:,}")],
    ids=["account", "transaction", "ledger"],
)
def test_search_leads_to_what_was_searched_for(api: Api, page: Page, term: str, heading: str) -> None:
    """By keyboard alone: the slash goes to the search, Enter searches."""
    page.goto(url_of(api))
    expect(page.get_by_role("heading", name="Newest ledgers")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(term)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()


def test_an_account_is_told_in_words(api: Api, page: Page) -> None:
    page.goto(f"{url_of(api)}/#/account/{text(BOB)}")
    expect(page.locator("#changes li")).not_to_have_count(0)
    told = page.locator("#changes").inner_text()
    assert [words for words in SENTENCES if words not in told] == []
    page.locator("#changes").get_by_role("link", name="transaction").first.click()
    expect(page.get_by_role("heading", name="What happened to whom")).to_be_visible()


def test_balances_have_names_and_exact_amounts(api: Api, page: Page) -> None:
    page.goto(f"{url_of(api)}/#/account/{text(ALICE)}")
    rows = page.get_by_role("table", name="Balances").get_by_role("row")
    expect(rows).to_have_count(4)
    assert rows.nth(1).inner_text().split() == ["XLM", "123.456789"]
    assert rows.nth(2).get_by_role("cell").last.inner_text() == "0.0000005"


def test_what_happens_appears_at_once(own_api: Api, database_url: str, page: Page) -> None:
    page.goto(f"{url_of(own_api)}/#/account/{text(ALICE)}")
    expect(page.locator("#live")).to_contain_text("live")
    newest = page.locator("#changes li").first
    before = newest.get_attribute("data-id")
    commit(database_url, NEXT)
    expect(newest).not_to_have_attribute("data-id", before or "")
    ids = page.locator("#changes li").evaluate_all("items => items.map((item) => item.dataset.id)")
    assert len(ids) == len(set(ids)), "nothing twice"
    page.goto(f"{url_of(own_api)}/#/")
    expect(page.locator("#live")).to_contain_text("live")
    commit(database_url, NEXT + 1)
    expect(page.locator("#ledgers li").first).to_contain_text(f"{NEXT + 1:,}")


def test_pages_lead_to_each_other(api: Api, page: Page) -> None:
    page.goto(f"{url_of(api)}/#/ledger/{LAST}")
    expect(page.get_by_role("listitem")).to_have_count(TRANSACTIONS)
    page.get_by_role("link", name="previous").click()
    expect(page.get_by_role("heading", name=f"Ledger {LAST - 1:,}", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name=f"Ledger {LAST:,}", exact=True)).to_be_visible()
    page.get_by_role("link", name="Queries").click()
    expect(page).to_have_title("Lumenstream queries")
    page.get_by_role("link", name="Lumenstream").click()
    expect(page.get_by_role("heading", name="Newest ledgers")).to_be_visible()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("#/account/GNONSENSE", "invalid address"),
        (f"#/transaction/{'0' * 64}", "not found"),
        ("#/ledger/5", "was not ingested"),
        ("#/nonsense/1", "no such page"),
        ("#/account/<img src=x onerror=alert(1)>", "invalid address"),
    ],
)
def test_what_is_not_there_is_said(api: Api, page: Page, place: str, words: str) -> None:
    page.goto(f"{url_of(api)}/{place}")
    expect(page.get_by_role("alert")).to_contain_text(words)
    assert page.locator("main img").count() == 0


def test_a_search_for_nothing_we_know(api: Api, page: Page) -> None:
    page.goto(url_of(api))
    page.get_by_role("searchbox").fill("hello")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("Search for an address")


def test_text_from_the_ledger_is_never_markup(own_api: Api, database_url: str, page: Page) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update state_changes set data_entry_name = '<img src=x>' where data_entry_name is not null")
    page.goto(f"{url_of(own_api)}/#/account/{text(BOB)}")
    expect(page.get_by_text("<img src=x>")).to_be_visible()
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_both_schemes_and_a_phone(api: Api, browser: Browser, scheme: str, width: int) -> None:
    """Nothing is wider than the screen, and text stands out from its background as WCAG AA asks."""
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme="dark" if scheme == "dark" else "light")
    opened = context.new_page()
    for place, heading in (
        ("#/", "Newest ledgers"),
        (f"#/account/{text(BOB)}", text(BOB)),
        (f"#/transaction/{HASH}", HASH),
        (f"#/ledger/{LAST}", f"Ledger {LAST:,}"),
    ):
        opened.goto(f"{url_of(api)}/{place}")
        expect(opened.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        [int(part) for part in re.findall(r"\d+", opened.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]
        for name in ("color", "backgroundColor")
    )
    assert contrast(ink, paper) > 4.5
    assert (sum(paper) < 200) == (scheme == "dark")
    context.close()


def contrast(one: list[int], other: list[int]) -> float:
    """WCAG 2's ratio of two sRGB colours."""

    def luminance(colour: list[int]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_server_that_wants_signatures_says_so(database_url: str, page: Page) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    key = "GDZST3XVCDTUJ76ZAV2HA72KYQODXXZ5PTMAPZGDHZ6CS7RO7MGG3DBM"
    with serving(database_url, auth_public_keys=key) as served:
        page.goto(url_of(served))
        expect(page.get_by_role("alert")).to_contain_text("signed requests")
