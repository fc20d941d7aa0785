"""Search: title and content, the title first, with a snippet; what was just said is found, what was
deleted is not, and no query is an error.
"""

import pytest
import trio


async def found(house, query, **params):
    answer = await house.client.get("/api/sessions/search", q=query, **params)
    assert answer["count"] == len(answer["sessions"])
    return [(row["title"], row["match_type"], row["match_preview"]) for row in answer["sessions"]]


async def test_titles_come_before_contents_and_a_snippet_shows_the_place(house):
    async with house.up() as client:
        first, second = await client.new(), await client.new()
        long = "before " * 60 + "the Lighthouse keeper" + " after" * 60
        await house.answer_from(long, first, "tell me a story")
        await house.answer_from("ships", second, "something else")
        await house.post("/api/session/rename", session_id=first, title="Story")
        await house.post("/api/session/rename", session_id=second, title="Lighthouse")
        hits = await found(house, "lighthouse")
        assert [hit[:2] for hit in hits] == [("Lighthouse", "title"), ("Story", "content")]
        assert "the Lighthouse keeper" in hits[1][2]
        assert len(hits[1][2]) < 200
        assert [hit[0] for hit in await found(house, "lighthouse", content=0)] == ["Lighthouse"]
        assert [hit[0] for hit in await found(house, "keeper story")] == ["Story"]
        assert await found(house, "nobody said this") == []
        await house.kill()
    async with house.up():
        assert len(await found(house, "lighthouse")) == 2
        await house.post("/api/session/delete", session_id=second)
        assert [hit[0] for hit in await found(house, "lighthouse")] == ["Story"]
        await house.post("/api/session/clear", session_id=first)
        assert await found(house, "lighthouse") == []


async def test_after_a_compression_a_session_is_found_once(house):
    async with house.up() as client:
        session_id = await client.new()
        for n in ("one", "two"):
            await house.answer_from(f"answer {n} of the lighthouse", session_id, f"prompt {n}")
        await house.post("/api/session/compress/start", session_id=session_id)
        async with house.listening("/api/sessions/events") as events:
            await (await house.upstream.next_turn()).answer("They counted.")
            async for _, data in events:
                if data["reason"] == "session_compressed":
                    break
        assert len(await found(house, "lighthouse")) == 1


@pytest.mark.parametrize("query", ['"', "a AND", "*", "%", "_", "\0", "x" * 5000, "''", "title:"])
async def test_whatever_is_asked_for_is_text(house, query):
    async with house.up():
        assert await found(house, query) == []


@pytest.mark.parametrize("how", ["delete", "clear", "undo"])
async def test_what_was_removed_is_in_no_file_of_the_search_though_nobody_searches(house, how):
    def searched():
        files = house.data_dir.glob("search.sqlite*")
        return any(b"xylophonist" in path.read_bytes() for path in files)

    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("a xylophonist", session_id, "who?")
        assert await found(house, "xylophonist")
        assert searched()
        await house.post(f"/api/session/{how}", session_id=session_id)
        with trio.fail_after(30):
            while searched():
                await client.session(session_id) if how != "delete" else await client.new()
