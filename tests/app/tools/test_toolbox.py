"""Names that a model can say, of tools of several servers."""

from types import SimpleNamespace

from app.tools.config import ToolServer
from app.tools.results import Outcome
from app.tools.toolbox import LONGEST_NAME, Toolbox


class Source:
    def __init__(self, name, *tools):
        self.server = ToolServer(name=name, command="x")
        self.tools = [
            SimpleNamespace(name=tool, description="", input_schema={"type": "object"})
            for tool in tools
        ]
        self.problem = None

    async def ready(self):
        return True

    async def call(self, tool, arguments):
        return Outcome(f"{tool} of {self.server.name}")


async def test_tools_that_come_to_the_same_name_are_numbered_and_each_is_called():
    long = "x" * LONGEST_NAME
    box = Toolbox([Source("a b", "note", f"{long}1", f"{long}2"), Source("a_b", "note", "no.te")])
    assert await box.look() == []
    cut = f"a_b__{long}"[:LONGEST_NAME]
    assert box.names == ["a_b__note", cut, f"{cut[:-2]}_2", "a_b__note_2", "a_b__no_te"]
    assert [definition["function"]["name"] for definition in box.definitions] == box.names
    called = [(await box.find(name).call({})).text for name in box.names]
    assert called == [
        *("note of a b", f"{long}1 of a b", f"{long}2 of a b"),
        *("note of a_b", "no.te of a_b"),
    ]
    assert [box.find(name).server for name in box.names] == ["a b"] * 3 + ["a_b"] * 2
