"""/v1/conversations with the official Python client, against a real server."""

import openai
import pytest

from tests.app.client import open_client
from tests.app.openai_api.house import open_house

pytestmark = pytest.mark.process

ITEMS = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "a"}]


def said(items):
    return [item.content[0].text for item in items]


async def test_a_conversation_is_a_session(tmp_path):
    async with open_house(tmp_path) as house, open_client(house.server.url) as page:
        conversations = house.client.conversations
        made = await house.call(conversations.create, items=ITEMS, metadata={"for": "a test"})
        first, asked = await house.answered("B?", "b", conversation=made.id)
        assert [m["content"] for m in asked["messages"]] == ["A?", "a", "B?"]
        assert first.conversation.id == made.id
        items = await house.call(conversations.items.list, made.id, order="asc")
        assert said(items.data) == ["A?", "a", "B?", "b"]
        assert items.data[-1].id == first.output[0].id
        one = await house.call(
            conversations.items.retrieve, items.data[1].id, conversation_id=made.id
        )
        assert said([one]) == ["a"]
        (row,) = (await page.get("/api/sessions"))["sessions"]
        assert row["message_count"] == 4
        # The page goes on with it, and so does the API after that.
        stream_id = await page.start(row["session_id"], "C?")
        await (await house.upstream.next_turn()).answer("c")
        await page.events(stream_id)
        _, asked = await house.answered("D?", "d", conversation=made.id)
        assert [m["content"] for m in asked["messages"]][-3:] == ["C?", "c", "D?"]


async def test_items_come_in_pages_and_go_from_the_end(tmp_path):
    async with open_house(tmp_path) as house:
        conversations = house.client.conversations
        made = await house.call(conversations.create)
        items = [{"role": "user", "content": str(n)} for n in range(5)]
        added = await house.call(conversations.items.create, made.id, items=items)
        assert said(added.data) == ["0", "1", "2", "3", "4"]
        # The client asks for page after page by itself.
        pages = await house.call(lambda: list(conversations.items.list(made.id, limit=2)))
        assert said(pages) == ["4", "3", "2", "1", "0"]
        delete = conversations.items.delete
        with pytest.raises(openai.BadRequestError, match="Only the last item"):
            await house.call(delete, added.data[0].id, conversation_id=made.id)
        await house.call(delete, added.data[4].id, conversation_id=made.id)
        left = await house.call(conversations.items.list, made.id, order="asc")
        assert said(left.data) == ["0", "1", "2", "3"]
        secret = {"role": "user", "content": f"It is ghp_{'a' * 36}."}
        added = await house.call(conversations.items.create, made.id, items=[secret])
        assert said(added.data) == ["It is [secret]."]


async def test_metadata_is_kept_and_what_is_deleted_is_gone(tmp_path):
    async with open_house(tmp_path) as house:
        conversations = house.client.conversations
        made = await house.call(conversations.create, metadata={"a": "1"})
        await house.call(conversations.update, made.id, metadata={"b": "2"})
        assert await house.server.stop() == 0
        async with house.open():
            conversations = house.client.conversations
            found = await house.call(conversations.retrieve, made.id)
            assert (found.metadata, found.created_at) == ({"b": "2"}, made.created_at)
            assert (await house.call(conversations.delete, made.id)).deleted
            for ask in (conversations.retrieve, conversations.delete, conversations.items.list):
                with pytest.raises(openai.NotFoundError):
                    await house.call(ask, made.id)


async def test_one_response_at_a_time(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.call(house.client.conversations.create)
        await house.create(input="A?", conversation=made.id, background=True)
        turn = await house.upstream.next_turn()
        with pytest.raises(openai.ConflictError):
            await house.create(input="B?", conversation=made.id)
        with pytest.raises(openai.ConflictError):
            await house.call(house.client.conversations.items.create, made.id, items=ITEMS)
        await turn.answer("a")


async def test_a_deleted_response_stays_in_its_conversation(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.call(house.client.conversations.create)
        response, _ = await house.answered("A?", "a", conversation=made.id)
        branch, asked = await house.answered("B?", "b", previous_response_id=response.id)
        assert [m["content"] for m in asked["messages"]] == ["A?", "a", "B?"]
        assert branch.conversation is None
        await house.call(house.client.responses.delete, response.id)
        with pytest.raises(openai.NotFoundError):
            await house.call(house.client.responses.retrieve, response.id)
        items = await house.call(house.client.conversations.items.list, made.id, order="asc")
        assert said(items.data) == ["A?", "a"]
