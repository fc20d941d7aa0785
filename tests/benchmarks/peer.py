"""The peer: a thread for each request and turn, sessions as JSON files, one index of them all.

    python -m tests.benchmarks.peer DIRECTORY [HTTP/1.1]

With HTTP/1.0, which is Python's default, each request has a connection and a thread of its own;
with HTTP/1.1 a thread serves a connection for as long as its client keeps it.

An honest small server of the kind that Greenroom wants to be better than: a lock for each session,
every save written to a temporary file, flushed and renamed, and the index rewritten with it, the
way it is usually done.  Says its port.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Sessions:
    """In memory once they were read, and on disk as they are in memory."""

    def __init__(self, directory: Path) -> None:
        self.locks = defaultdict(threading.Lock)
        self.streams = {}
        self._directory = directory
        self._sessions = {}
        self._index_lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._index = {}
        for path in directory.glob("*.json"):
            if not path.name.startswith("_"):
                session = json.loads(path.read_text())
                self._index[session["session_id"]] = self._row(session)

    def _row(self, session):
        row = {name: session.get(name) for name in ("session_id", "title", "updated_at", "pinned")}
        return row | {"message_count": len(session["messages"])}

    def get(self, session_id):
        if session_id not in self._sessions:
            path = self._directory / f"{session_id}.json"
            self._sessions[session_id] = json.loads(path.read_text())
        return self._sessions[session_id]

    def save(self, session):
        session["updated_at"] = time.time()
        self._sessions[session["session_id"]] = session
        self._write(f"{session['session_id']}.json", session)
        with self._index_lock:
            self._index[session["session_id"]] = self._row(session)
            self._write("_index.json", list(self._index.values()))

    def _write(self, name, content):
        temporary = self._directory / f"{name}.tmp.{threading.get_ident()}"
        with temporary.open("w") as file:
            file.write(json.dumps(content, indent=2))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._directory / name)

    def page(self, limit):
        with self._index_lock:
            rows = sorted(self._index.values(), key=lambda row: row["updated_at"], reverse=True)
        return {"sessions": rows[:limit]}


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # head and body leave in one write
    disable_nagle_algorithm = True
    sessions: Sessions

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/api/chat/stream/status":
            active = query.get("stream_id") in self.sessions.streams
            self.answer({"active": active, "stream_id": query.get("stream_id")})
        elif url.path == "/api/session":
            with self.sessions.locks[query["session_id"]]:
                self.answer({"session": self.sessions.get(query["session_id"])})
        elif url.path == "/api/sessions":
            self.answer(self.sessions.page(int(query.get("limit", 50))))
        else:
            self.answer({"error": "not found"}, 404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/session/import":
            session = {"session_id": uuid.uuid4().hex[:12], **body}
            with self.sessions.locks[session["session_id"]]:
                self.sessions.save(session)
            self.answer({"session": session})
        elif self.path == "/api/session/undo":
            with self.sessions.locks[body["session_id"]]:
                session = self.sessions.get(body["session_id"])
                while session["messages"] and session["messages"].pop()["role"] != "user":
                    pass
                self.sessions.save(session)
            self.answer({"ok": True})
        else:
            self.answer({"error": "not found"}, 404)

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048


def main(directory: Path, version: str = "HTTP/1.0") -> None:
    Handler.protocol_version = version
    Handler.sessions = Sessions(directory)
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
