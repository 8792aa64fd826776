"""A server until it is told to end: then it takes nothing new, finishes what it has, and ends well."""

import asyncio
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from transduce.errors import UserError
from transduce.serve.http import Server
from transduce.serve.notices import install


class Uvicorn(uvicorn.Server):
    """Ends at SIGTERM or SIGINT with everything answered; at a second one at once."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self.ours = server

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: object) -> None:
        self.force_exit = self.should_exit
        self.should_exit = self.ours.closing = True


def listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens. Raises UserError where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OverflowError:
        raise UserError(f"--port {port} is not a port; use one from 1 to 65535, or 0 for any that is free") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{host}:{port} cannot be listened on ({reason}); choose another --host or --port") from None


def run(server: Server, where: socket.socket) -> None:
    """Serves until a signal says to end."""
    install()
    config = uvicorn.Config(
        server.app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none", loop="asyncio",
        http="h11", timeout_graceful_shutdown=int(server.limits.timeout) + 5, h11_max_incomplete_event_size=1 << 16,
    )  # fmt: skip
    try:
        asyncio.run(Uvicorn(config, server).serve(sockets=[where]))
    finally:
        server.close()
