"""The page under a prefix of another app: it asks nothing of the host's own paths."""

import os
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.app.process import ROOT
from tests.browser.acts import answers, menu, said, send, wait_done


@pytest.fixture
def host(tmp_path):
    command = [sys.executable, str(ROOT / "tests/examples/mounted.py"), str(tmp_path / "data")]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().removeprefix("open ").strip()
            yield SimpleNamespace(url=url.removesuffix("/"))
        finally:
            process.kill()


def test_a_person_chats_reloads_and_looks_into_it_under_a_prefix(host, open_tab, shoot):
    page = open_tab(host)
    asked = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    send(page, "hello under a prefix")
    wait_done(page)
    assert answers(page) == ["hello under a prefix"]
    assert urlsplit(page.url).path.startswith("/chat/session/")
    page.reload()
    expect(page.locator("#transcript .bubble")).to_have_count(1)
    assert said(page) == ["hello under a prefix"]
    shoot(page, "mounted")
    menu(page, "Why is it busy?")
    page.wait_for_url("**/chat/inspector?session_id=*")
    page.locator("#back").click()
    expect(page.locator("#transcript .bubble")).to_have_text("hello under a prefix")
    outside = {path for path in asked if not path.startswith("/chat/")} - {"/chat"}
    assert outside == set()
