"""The program ``mlcnn``, imported once for all commands of a page: each runs in a fork of its own.

Importing takes three quarters of a short command. ``python -m documented.served SOCKET`` waits for
calls; ``call`` is what stands in for the program: it hands over arguments, folder and streams.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import socket
import sys
from pathlib import Path

import mlcnn.api
import mlcnn.cli

CLIENT = """#!{python} -S
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
text = json.dumps([os.getcwd(), sys.argv[1:]]).encode()
socket.send_fds(server, [len(text).to_bytes(4, "big") + text], [0, 1, 2])
sys.exit(server.recv(1)[0])
"""
"""The script that calls the server at an address; it ends with the command's code."""


def _run(folder: str, arguments: list[str], streams: list[int]) -> int:
    """In a fork: one command."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    sys.argv = ["mlcnn", *arguments]
    try:
        return mlcnn.cli.main(arguments)
    except SystemExit as leaving:  # --help and --version
        return int(leaving.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _answer(connection: socket.socket) -> None:
    head, streams, *_ = socket.recv_fds(connection, 1 << 16, 3)
    folder, arguments = json.loads(head[4:])
    child = os.fork()
    if not child:
        os._exit(_run(folder, arguments, streams))
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.send(bytes([code % 256]))


def main() -> None:
    """Import everything, say so, and wait for calls until the process is ended."""
    for package in (mlcnn.api, mlcnn.cli):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen()
    Path(f"{sys.argv[1]}.ready").touch()
    while True:
        connection, _ = server.accept()
        with connection:
            _answer(connection)


if __name__ == "__main__":
    main()
