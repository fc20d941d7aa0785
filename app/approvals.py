"""Endpoints for the tool calls that somebody must allow."""

from quart import Blueprint, Response

from actors.session.approvals import grants
from actors.session.messages import AnswerApproval, RevokeGrant
from actors.session.refusals import SessionNotFound

from . import bodies, views
from .asking import ask, ask_named
from .bodies import BadRequest, require
from .body import read_body
from .http_errors import json_response
from .saying import said
from .view import View

__all__ = ["routes"]


def routes(greenroom: View) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("approvals", __name__)

    @page.get("/api/approval/pending")
    async def pending() -> Response:
        try:
            waiting = views.approvals_of((await ask_named(greenroom)).record)
        except (SessionNotFound, BadRequest):  # a client may ask before there is one
            waiting = []
        first = waiting[0] if waiting else None
        answer = {"pending": first, "pending_count": len(waiting)}
        return said(answer)

    @page.post("/api/approval/respond")
    async def respond() -> Response:
        body = await read_body(bodies.ApprovalBody)
        require(body, "session_id", "choice", "approval_id")
        choice = bodies.CHOICES.get(body.choice or "")
        if choice is None:
            raise BadRequest(f"Invalid choice: {body.choice}")
        await ask(greenroom, body.session_id, AnswerApproval(body.approval_id or "", choice))
        return json_response({"ok": True, "choice": body.choice})

    @page.post("/api/approval/revoke")
    async def revoke() -> Response:
        body = await read_body(bodies.GrantBody)
        require(body, "session_id", "tool")
        snapshot = await ask(greenroom, body.session_id, RevokeGrant(body.tool or ""))
        return json_response({"ok": True, "grants": grants(snapshot.record)})

    return page
