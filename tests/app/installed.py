"""Looks at an installed Greenroom from outside of any checkout: `python installed.py`, with the
Python that has it. Needs nothing but what was installed.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import httpx

import actors
import app


def check(truth, what):
    if not truth:
        sys.exit(f"not so: {what}")
    print("ok", what)


def main():
    place = Path(sys.prefix).resolve()
    for package in (actors, app):
        where = Path(package.__file__).resolve()
        check(place in where.parents, f"{package.__name__} is imported from the installation")
    files = {str(file) for file in distribution("greenroom").files}
    for licence in ("LICENSE", "purify.LICENSE.txt", "marked.LICENSE.txt", "highlight.LICENSE.txt"):
        check(any("licenses" in f and f.endswith(licence) for f in files), f"{licence} is there")
    check("actors/py.typed" in files, "its types are there")
    check(importlib.util.find_spec("pytest") is None, "pytest is not needed to run it")
    with tempfile.TemporaryDirectory() as directory:
        talk(Path(directory))


def talk(directory):
    command = (Path(sys.prefix) / "bin/greenroom", "--agent", "demo", "--port", "0")
    process = subprocess.Popen(
        [*command, "--data-dir", directory / "data"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        ready = process.stdout.readline()
        url = ready.rpartition(" ")[2].strip()
        with httpx.Client(base_url=url, timeout=60) as client:
            page = client.get("/").text
            for path in ("/static/js/main.js", "/static/css/base.css", "/static/vendor/purify.js"):
                check(client.get(path).status_code == 200, f"{path} is served")
            check("/static/js/main.js" in page, "the page is served")
            check(client.get("/inspector").status_code == 200, "the inspector is served")
            session = client.post("/api/session/new", json={}).json()["session"]["session_id"]
            prompt = {"session_id": session, "message": "hello"}
            turn = client.post("/api/chat/start", json=prompt).json()["stream_id"]
            told = client.get("/api/chat/stream", params={"stream_id": turn}).text
            check("event: done" in told, "a prompt is answered")
            exported = {"session_id": session, "format": "html"}
            html = client.get("/api/session/export", params=exported).text
            check("hello" in html, "a chat is exported through its template")
            record = client.get("/api/session", params={"session_id": session}).json()
            first = record["session"]["messages"][0]
            check(first["content"] == "hello", "the transcript has it")
        process.send_signal(signal.SIGTERM)
        check(process.wait(20) == 0, "SIGTERM ends it in order")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
