"""/v1/models: what can be named as a model."""

from typing import Any

from quart import Blueprint, Response

from ..http_errors import json_response
from .errors import ApiError
from .offer import Offer

__all__ = ["routes"]


def routes(offer: Offer) -> Blueprint:
    page = Blueprint("openai_models", __name__, url_prefix="/v1/models")

    @page.get("")
    async def models() -> Response:
        data = [_model(name) for name in await offer.names()]
        return json_response({"object": "list", "data": data})

    @page.get("/<path:name>")
    async def model(name: str) -> Response:
        if name not in await offer.names():
            message = f"The model '{name}' does not exist"
            raise ApiError(404, message, "model", "model_not_found")
        return json_response(_model(name))

    return page


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "greenroom"}
