"""How the log is written: lines for people, or JSON for machines. Names, never what was said."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from .requests import CURRENT

__all__ = ["log_to_stderr"]

# Their debug output holds whole headers, or what was asked.
TOO_OPEN = ("httpcore", "httpcore2", "hpack", "urllib3", "markdown_it")


def log_to_stderr(level: str, form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in TOO_OPEN:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it quotes what tools have said


class Lines(logging.Formatter):
    """As ever, and at the end which request it was."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(names)s")

    def format(self, record: logging.LogRecord) -> str:
        names = " ".join(f"{name}={value}" for name, value in _names().items())
        record.names = f" [{names}]" if names else ""
        return super().format(record)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_names(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def _names() -> dict[str, str]:
    known = CURRENT.get()
    return {} if known is None else known.names()
