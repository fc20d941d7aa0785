"""What a model, a tool or a file says may look like markup: none of it runs or loads anything."""

import pytest
from playwright.sync_api import expect

from tests.app.client import open_client
from tests.app.process import running_server
from tests.browser.acts import send, wait_done

EVIL = "http://127.0.0.1:9"  # nobody listens there; a request would be seen all the same

HOSTILE = f"""
<script>window.hacked = "script"</script>
<img src="{EVIL}/img.png" onerror="window.hacked = 'onerror'">
<img src="/api/chat/cancel?stream_id=x">
![remote]({EVIL}/markdown.png) ![local](/api/chat/cancel?stream_id=y)
![data](data:image/png;base64,AAAA)
<svg onload="window.hacked = 'svg'"><image href="{EVIL}/svg.png"/><script>hacked = 1</script></svg>
<iframe src="{EVIL}/frame"></iframe> <object data="{EVIL}/object"></object>
<embed src="{EVIL}/embed"> <audio src="{EVIL}/audio"></audio>
<video src="{EVIL}/video" autoplay poster="{EVIL}/poster"></video>
<link rel="stylesheet" href="{EVIL}/style.css">
<style>@import "{EVIL}/import.css"; body {{ display: none }}</style>
<p style="background: url({EVIL}/css.png)" id="prompt" class="toast error">styled</p>
<p onclick="window.hacked = 1">clicked</p>
<form action="{EVIL}/form"><input autofocus onfocus="window.hacked = 2"><button>go</button></form>
<base href="{EVIL}/"> <meta http-equiv="refresh" content="0; url={EVIL}/meta">
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=x=1&gt;">
<details open ontoggle="window.hacked = 'toggle'"><summary>fold</summary>text</details>
<a href="javascript:window.hacked = 'href'">one</a> [two](javascript:window.hacked=1)
[three](data:text/html,<script>window.hacked=1</script>) [four](/api/chat/cancel?stream_id=z)
[five]({EVIL}/link) <a href="{EVIL}/anchor" target="_self" ping="{EVIL}/ping">six</a>
[seven](vbscript:x) <a href="&#106;avascript:window.hacked=1">eight</a>
[nine](mailto:a@example.org)

```"><img src=x onerror=window.hacked=1>
<img src=x onerror="window.hacked = 'code'">
```

```html
<img src=x onerror="window.hacked = 'highlighted'">
```
"""
APART = HOSTILE.partition("```")
HOSTILE = APART[0].replace("\n", "\n\n") + "".join(APART[1:])  # each line is a block
ALLOWED = {
    *("A", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DETAILS", "DIV", "EM", "H2", "HEADER", "LI"),
    *("P", "PATH", "PRE", "SPAN", "STRONG", "SUMMARY", "SVG", "TABLE", "TBODY", "TD", "TR", "UL"),
    *("DL", "DT", "DD", "TIME", "OL", "SMALL"),
}


@pytest.fixture
def watched(house, open_tab):
    """A tab, and every request it makes that is not the page's own."""

    def open_watched(path="/"):
        strange = []

        def look(request):
            ours = request.url.startswith((house.url, "blob:"))
            if not ours or "/api/chat/cancel" in request.url:
                strange.append(request.url)

        page = open_tab(house, "/static/icon.svg", refused=True)
        page.on("request", look)
        page.goto(house.url + path)
        return page, strange

    return open_watched


def check(page, strange):
    assert page.evaluate("window.hacked") is None
    assert strange == []
    tags = page.locator("#transcript *").evaluate_all("all => all.map(one => one.tagName)")
    assert {tag.upper() for tag in tags} <= ALLOWED
    named = page.locator("#transcript .prose").first.locator("[id], [style], [onclick], [name]")
    expect(named).to_have_count(0)
    for link in page.locator("#transcript .prose a[href]").all():
        assert link.get_attribute("href").startswith((EVIL, "mailto:"))
        assert link.get_attribute("target") == "_blank"
        assert "noopener" in link.get_attribute("rel")
        assert "noreferrer" in link.get_attribute("rel")
        assert link.get_attribute("ping") is None


def test_an_answer_cannot_run_or_load_anything(watched, house):
    page, strange = watched()
    send(page, HOSTILE)
    turn = house.next_turn()
    turn.reason(HOSTILE)
    for part in HOSTILE.split(" "):  # it is also harmless while half of it is there
        turn.say(part + " ")
    turn.finish()
    wait_done(page)
    prose = page.locator("li.answer .prose")
    expect(prose.get_by_text("Picture: remote")).to_have_attribute("href", f"{EVIL}/markdown.png")
    expect(prose.get_by_text("Picture: local")).not_to_have_attribute("href", "/api")
    expect(prose.locator("pre").last).to_contain_text("onerror=\"window.hacked = 'highlighted'\"")
    check(page, strange)
    page.reload()
    wait_done(page)
    expect(prose.get_by_text("Picture: remote")).to_be_visible()
    check(page, strange)


def test_a_file_that_anybody_wrote_cannot_either_and_does_not_break_the_page(watched, house):
    call = {"id": "c", "function": {"name": HOSTILE[:60], "arguments": '{"x": "<img src=x>"}'}}
    rows = [
        {"role": "user", "content": HOSTILE, "attachments": [{"name": "<img src=x>"}, 7, None]},
        {"role": "assistant", "content": HOSTILE, "reasoning": HOSTILE, "tool_calls": [call, 7]},
        {"role": "tool", "tool_call_id": "c", "content": HOSTILE},
        {"role": "user", "content": {"no": "text"}, "attachments": "junk", "timestamp": 1e300},
        {"role": "assistant", "content": [{"type": "text", "text": HOSTILE}, 7], "timestamp": "x"},
        {"content": None, "tool_calls": "junk", "_partial_tool_calls": 7, "_turnUsage": "junk"},
        {"role": "assistant", "_error": True, "content": HOSTILE, "provider_details": HOSTILE},
        {"role": "system", "content": HOSTILE},
        {"role": "user", "content": "the last"},
    ]
    title = "<img src=x onerror=window.hacked=1>"
    session = house.post("/api/session/import", title=title, messages=rows)["session"]
    page, strange = watched(f"/session/{session['session_id']}")
    expect(page.get_by_text("the last")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.locator("#transcript details").evaluate_all("all => all.forEach(one => one.open = true)")
    check(page, strange)


def test_the_policy_forbids_inline_script_and_other_hosts(house, open_tab):
    page = open_tab(house, refused=True)
    with page.expect_event("console") as said:
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.head.append(script);
        }""")
    assert "Content Security Policy" in said.value.text
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(f"fetch('{EVIL}').then(() => 'loaded', () => 'refused')") == "refused"


async def test_the_policy_is_sent_with_our_page_and_not_with_another_clients(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("<script>1</script>")
    async with running_server(tmp_path / "a") as server, open_client(server.url) as client:
        for path in ("/", "/session/x", "/static/js/main.js", "/static/vendor/marked.js"):
            response = await client.http.get(path)
            assert response.status_code == 200, path
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'; script-src 'self';" in policy
            assert "unsafe" not in policy
            assert response.headers["Cache-Control"] == "no-cache"
    async with (
        running_server(tmp_path / "b", "--page-dir", str(other)) as server,
        open_client(server.url) as client,
    ):
        assert "Content-Security-Policy" not in (await client.http.get("/")).headers
