"""The child process that runs llama.cpp's own HTTP server.

`python -m app.agents.llama_server MODEL.gguf TOKENS` gives each answer a context of so many tokens.
It reads its key from the first line of its standard input, prints the server's address as one line
on its standard output, and ends when its standard input does: so it dies with its parent, however
that ends.
"""

import os
import sys

import xllamacpp

__all__ = ["main"]

SLOTS = 4
QUIET = 1  # errors only


def main() -> None:
    model, context, key = sys.argv[1], int(sys.argv[2]), sys.stdin.readline().strip()
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_parallel = SLOTS
    params.n_ctx = context * SLOTS
    params.verbosity = QUIET
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while sys.stdin.readline():
        pass
    os._exit(0)  # nothing to save, and its threads may be in the midst of an answer


if __name__ == "__main__":
    main()
