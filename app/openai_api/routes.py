"""Everything below /v1, put together."""

from collections.abc import Iterator

from quart import Blueprint

from ..view import View
from . import chat, conversations, models, responses
from .offer import Offer
from .turns import Turns

__all__ = ["routes"]


def routes(greenroom: View, offer: Offer) -> Iterator[Blueprint]:
    turns = Turns(greenroom, offer.model)
    yield models.routes(offer)
    yield chat.routes(offer, turns)
    yield responses.routes(greenroom, offer, turns)
    yield conversations.routes(greenroom)
