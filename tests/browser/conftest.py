"""Real Chromium against the real server. Screenshots go to GREENROOM_SCREENSHOTS, or to pytest's
temporary directory."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.stage import open_stage

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CHROMIUM = os.environ.get("GREENROOM_CHROMIUM") or shutil.which("chromium")
WIDTHS = {"narrow": (360, 740), "wide": (1600, 1000)}
GUARD_MS = 20_000

expect.set_options(timeout=GUARD_MS)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")  # while it is there, this thread cannot run another's asyncio
def browser():
    if CHROMIUM is None:
        text = "no Chromium: the page is NOT tested (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A server for all tests that do it no harm. None of them is the first to use it."""
    with open_stage(tmp_path_factory.mktemp("house") / "data") as stage:
        stage.start()
        yield stage


@pytest.fixture
def stage(tmp_path):
    """A place for a server of the test's own."""
    with open_stage(tmp_path / "data") as stage:
        yield stage


@pytest.fixture
def open_tab(browser):
    """A tab, in a context of its own or in that of `beside`. An error in a page fails the test."""
    contexts, wrong = [], []

    def open_one(
        stage,
        path="/",
        *,
        width=1200,
        height=800,
        beside=None,
        theme="light",
        refused=False,
        **options,
    ):
        if beside is None:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, **options
            )
            context.set_default_timeout(GUARD_MS)
            contexts.append(context)
        else:
            context = beside.context
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def listen(said):
            # That a server does not answer, or a policy refuses, is what some tests are about.
            known = "Failed to load resource" in said.text
            known |= refused and "Content Security Policy" in said.text
            if said.type == "error" and not known:
                wrong.append(said.text)

        page.on("console", listen)
        page.goto(stage.url + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def shoot(tmp_path):
    """Keep a picture of the page, under this name."""
    directory = Path(os.environ.get("GREENROOM_SCREENSHOTS") or tmp_path / "screenshots")
    directory.mkdir(parents=True, exist_ok=True)

    def take(page, name):
        page.screenshot(path=directory / f"{name}.png")

    return take
