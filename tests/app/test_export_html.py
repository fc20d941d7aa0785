"""An exported page shows all of a session; whatever is in it, it loads nothing and runs nothing."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.session.record import Record
from app.export_html import html_of

VOID = {"meta", "br", "hr"}
FRAME = {"html", "head", "title", "style", "body", "header", "main", "article", "div", "time"}
FOLDS = {"mark", "details", "summary"}
BLOCKS = {"p", "pre", "ul", "ol", "li", "blockquote", *(f"h{n}" for n in range(1, 7))}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
WORDS = {"a", "b", "em", "strong", "s", "code"}
TAGS = VOID | FRAME | FOLDS | BLOCKS | TABLES | WORDS
ATTRIBUTES = {"class", "dir", "lang", "datetime", "href", "title", "style", "start"}
META = {"charset", "name", "content", "http-equiv"}


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, data):
        super().__init__(convert_charrefs=True)
        self.elements = []  # (tag, attributes, those around it)
        self.texts = []  # (text, the tags around it)
        self._open = []
        self.feed(data.decode("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.texts.append((data, tuple(self._open)))

    def handle_comment(self, data):
        raise AssertionError(data)

    def text(self, within="body"):
        return "".join(text for text, tags in self.texts if within in tags)

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]


def page_of(*rows, **fields):
    return Page(html_of(Record(session_id="s", messages=rows, **fields)))


def said(content, role="assistant", **fields):
    return {"role": role, "content": content} | fields


def check_harmless(page):
    for tag, attributes, _ in page.elements:
        assert tag in TAGS
        assert set(attributes) <= (META if tag == "meta" else ATTRIBUTES)
        assert attributes.get("style", "") in ("", *(f"text-align:{side}" for side in SIDES))
        if tag == "article":
            assert attributes["class"] in {"user", "assistant", "system", "tool", "other", "error"}
        if "href" in attributes:
            assert tag == "a"
            assert attributes["href"].lower().startswith(("http://", "https://", "mailto:"))


SIDES = ("left", "center", "right")


def test_a_page_has_the_title_the_dates_and_all_that_was_said():
    page = page_of(
        said("How are roses covered?", "user", timestamp=1_760_000_000),
        said("With *burlap*.", timestamp=1_760_000_005.5),
        title="Roses <in> winter",
        created_at=1_760_000_000.0,
        updated_at=1_760_090_000.0,
        model="smol",
    )
    assert page.text("title") == page.text("h1") == "Roses <in> winter"
    assert page.text("em") == "burlap"
    for text in ("How are roses covered?", "With burlap.", "You", "Assistant", "smol"):
        assert text in page.text()
    assert [time["datetime"] for time in page.all("time")] == [
        "2025-10-09T08:53:20+00:00",
        "2025-10-10T09:53:20+00:00",
        "2025-10-09T08:53:20+00:00",
        "2025-10-09T08:53:25+00:00",
    ]
    assert [article["class"] for article in page.all("article")] == ["user", "assistant"]


def test_a_session_in_which_nothing_was_said_is_a_page_too():
    page = page_of(title=" ")
    assert page.text("title") == "Untitled"
    assert page.all("article") == page.all("time") == []
    assert "Nothing was said." in page.text()


def test_tools_and_reasoning_are_folded():
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
    page = page_of(
        said("Looking.", reasoning="I wonder,\n  slowly", tool_calls=[call]),
        said("**seven** results", "tool", name="look"),
    )
    assert len(page.all("details")) == 3
    folded = page.text("details")
    for text in ("I wonder,\n  slowly", "Call: look", '{"q": 1}', "Result: look"):
        assert text in folded
    assert "**seven** results" in folded  # as it came
    assert "Looking." not in folded
    assert page.text("summary") == "ReasoningCall: lookResult: look"


def test_what_went_wrong_and_what_was_cut_short_are_marked():
    partial = {"name": "look", "args": {"q": "roses"}, "snippet": "found"}
    page = page_of(
        said("complete"),
        said("half an ans", _partial=True, _partial_tool_calls=[partial]),
        said(
            "**Rate limit:** later",
            _error=True,
            provider_details="HTTP 429",
            provider_details_label="Provider details",
        ),
    )
    marked = [text for text, tags in page.texts if "mark" in tags]
    assert marked == ["Cut short", "Error"]
    assert [article["class"] for article in page.all("article")] == [
        "assistant",
        "assistant",
        "error",
    ]
    assert page.text("strong") == "Rate limit:"
    for text in ("Call: look", '"q": "roses"', "found", "Provider details", "HTTP 429"):
        assert text in page.text("details")


def test_a_prompt_that_waits_for_its_answer_is_shown_once():
    pending = {
        "active_stream_id": "t1",
        "pending_user_message": "and then?",
        "pending_started_at": 1_760_000_000.0,
        "pending_attachments": ({"name": "map.png"}, "notes.txt", {"path": "/x"}, {}, 7),
    }
    page = page_of(said("first", "user"), **pending)
    assert page.text("article").count("and then?") == 1
    assert "Attached: map.png, notes.txt, /x, attachment, 7" in page.text()
    page = page_of(said("and then?", "user", _active_turn_token="t1:5"), **pending)
    assert page.text("article").count("and then?") == 1


def test_markdown_is_rendered():
    page = page_of(
        said(
            "# One\n\n- a\n- b\n\n```py\nx < 1\n```\n\n| h |\n|:-:|\n| c |\n\n[w](https://w.org)\nz"
        )
    )
    for tag in ("h1", "li", "table", "br"):
        assert page.all(tag)
    assert page.all("code") == [{"class": "language-py"}]
    assert page.text("code") == "x < 1\n"
    assert page.all("a") == [{"href": "https://w.org"}]
    check_harmless(page)


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "look at"}, {"type": "image_url"}, {"text": "this"}]
    assert "look at this" in page_of(said(parts, "user")).text("article")


def test_a_text_without_end_is_shown_as_it_is():
    page = page_of(said("[" * 1_000_000 + "<b>*end*"))  # as Markdown it would take an hour
    assert page.text("article").strip().endswith("[<b>*end*")
    check_harmless(page)


HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></article></body></html><script>alert(1)</script>",
    "</title></style><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=https://evil.example></iframe>",
    "<style>@import url(https://evil.example)</style>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "<!-- comment -->",
    "<a href=javascript:alert(1)>x</a>",
    "![x](https://evil.example/pixel.png)",
    "![x][1]\n\n[1]: https://evil.example/pixel.png",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\tjavascript:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:image/png;base64,AAAA)",
    "[x](//evil.example)",
    "[x](/api/session/delete)",
    "<javascript:alert(1)>",
    "[x][1]\n\n[1]: javascript:alert(1)",
    '[x](https://e.example/"onmouseover=alert(1))',
    '[x](https://e.example "t\\" onmouseover=alert(1) \\"")',
    "[x](https://e.example/'><script>alert(1)</script>)",
    '```py" onload="alert(1)\ncode\n```',
    "```\n</code></pre><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    '| <script> | b |\n|---|---|\n| <img src=x> | " onclick=x |',
    "{{ 7 * 7 }} {% include '/etc/passwd' %}",
    "\0<script\0>alert(1)</script>",
    "\ud800<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_becomes_more_than_text(text):
    call = {"function": {"name": text, "arguments": text}}
    card = {"name": text, "args": {text.replace("\ud800", ""): 1}, "snippet": text}
    page = page_of(
        said(text, "user", attachments=[text, {"name": text}]),
        said(text, reasoning=text, tool_calls=[call], _partial_tool_calls=[card], _partial=True),
        said(text, _error=True, provider_details=text, provider_details_label=text),
        said(text, "tool", name=text),
        said(text, text),
        title=text,
        model=text,
        pending_user_message=text,
    )
    check_harmless(page)
    assert "49" not in page.text()


@settings(deadline=None)
@given(st.text() | st.text("<>&\"'`*_[]()!#|-:\\ \n/ahrefscript=", max_size=60))
def test_no_text_becomes_more_than_text(text):
    check_harmless(page_of(said(text), said(text, "user"), said(text, "tool"), title=text))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("<a&", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        "role": JSON | st.sampled_from(["user", "assistant", "tool"]),
        "content": JSON,
        "timestamp": JSON,
        "_ts": JSON,
        "reasoning": JSON,
        "name": JSON,
        "tool_calls": JSON | st.lists(st.fixed_dictionaries({"function": JSON})),
        "_partial_tool_calls": JSON,
        "attachments": JSON,
        "provider_details": JSON,
        "provider_details_label": JSON,
        "_error": JSON,
        "_partial": JSON,
        "_active_turn_token": JSON,
    },
)


@settings(deadline=None)
@given(st.lists(ROW, max_size=3), st.floats(allow_nan=False), st.lists(JSON, max_size=2))
def test_any_rows_make_a_page(rows, at, attachments):
    check_harmless(
        page_of(
            *rows, created_at=at, pending_user_message="x", pending_attachments=tuple(attachments)
        )
    )


def test_the_page_forbids_itself_to_load_anything():
    page = page_of(said("hello"))
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]
    order = [tag for tag, _, _ in page.elements]
    assert order[:4] == ["html", "head", "meta", "meta"]  # before anything it should hold for
    assert {"name": "referrer", "content": "no-referrer"} in page.all("meta")
