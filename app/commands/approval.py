"""Tool calls that somebody must allow, asked for where a person sits."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import click
import trio

from .server import Server
from .terminal import Terminal

__all__ = ["Approvals"]

CHOICES = {"y": "once", "yes": "once", "a": "always", "always": "always", "n": "deny", "no": "deny"}
LINE = 1024


class Approvals:
    """Of one turn. What is answered in another place is not asked any more."""

    def __init__(self, server: Server, terminal: Terminal, nursery: trio.Nursery) -> None:
        self._server, self._terminal, self._nursery = server, terminal, nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self._keyboard = trio.Lock()

    def asked(self, session_id: str, approval: Mapping[str, Any]) -> None:
        what = approval["command"]
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            self._terminal.say(f"waits to be allowed: {what}")
            return
        scope = self._scopes[approval["approval_id"]] = trio.CancelScope()
        self._nursery.start_soon(self._ask, scope, session_id, approval["approval_id"], what)

    def settled(self, approval: Mapping[str, Any]) -> None:
        if scope := self._scopes.pop(approval["approval_id"], None):
            scope.cancel()
        self._terminal.aside(f"answer: {approval['choice']}")

    async def _ask(
        self, scope: trio.CancelScope, session_id: str, approval_id: str, what: str
    ) -> None:
        with scope:
            async with self._keyboard:
                choice = await self._choice(what)
            try:
                await self._server.post(
                    "/api/approval/respond",
                    session_id=session_id,
                    approval_id=approval_id,
                    choice=choice,
                )
            except click.ClickException as error:
                self._terminal.say(error.message)

    async def _choice(self, what: str) -> str:
        import termios

        # What was typed before the question is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        while True:
            self._terminal.say(f"Allow {what}? y(es), n(o), a(lways in this session)")
            await trio.lowlevel.wait_readable(sys.stdin)
            typed = os.read(sys.stdin.fileno(), LINE).decode(errors="replace").strip().lower()
            if typed in CHOICES:
                return CHOICES[typed]
