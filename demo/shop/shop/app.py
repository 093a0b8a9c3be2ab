"""The web service: HTTP/1.1 with keep-alive, one thread for each connection."""

import argparse
import json
import signal
import socket
import threading
import uuid
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from shop import cart

VERSION = "1"

# The fault that the demo plants: at this share of the orders the checkout breaks.
FAILURE_SHARE = 0.0

HOST = "127.0.0.1"

# A connection without a request is closed after so long; longer than the load balancer keeps one.
IDLE_SECONDS = 75

# Connections waiting to be accepted.
BACKLOG = 256


def breaks(order: str, share: float) -> bool:
    """Whether the planted fault hits this order: the same answer for the same order, always."""
    return zlib.crc32(order.encode()) % 10_000 < share * 10_000


def checkout(query: dict[str, list[str]]) -> dict[str, object]:
    """Places an order, or raises CartError."""
    order = query.get("order", [uuid.uuid4().hex])[0]
    items = query.get("items", ["tea,mug"])[0].split(",")
    coupon = query.get("coupon", [None])[0]
    if breaks(order, FAILURE_SHARE):
        raise RuntimeError("the payment provider answered with a page of HTML")
    return {"order": order, "total_cents": cart.total(items, coupon), "version": VERSION}


def respond(target: str) -> tuple[HTTPStatus, dict[str, object]]:
    """The answer to GET `target`."""
    url = urlsplit(target)
    match url.path:
        case "/":
            return HTTPStatus.OK, {"shop": "open", "version": VERSION}
        case "/health":
            return HTTPStatus.OK, {"status": "ok"}
        case "/version":
            return HTTPStatus.OK, {"version": VERSION}
        case "/products":
            return HTTPStatus.OK, {"products": cart.CATALOGUE}
        case "/checkout":
            try:
                return HTTPStatus.OK, checkout(parse_qs(url.query))
            except cart.CartError as error:
                return HTTPStatus.BAD_REQUEST, {"error": str(error)}
            except RuntimeError as error:
                return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)}
    return HTTPStatus.NOT_FOUND, {"error": f"no page {url.path}"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"shop/{VERSION}"
    timeout = IDLE_SECONDS
    # Head and body are two writes; without this the second waits for an acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        status, answer = respond(self.path)
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """One line for each request would be most of the work."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = BACKLOG

    def handle_error(self, request: socket.socket, client_address: object) -> None:
        """A client that went away is no error of the shop."""


def make_server(port: int) -> Server:
    """A server that already listens; port 0 takes a free one."""
    return Server((HOST, port), Handler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    server = make_server(parser.parse_args().port)
    # shutdown() waits for serve_forever(), so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"shop {VERSION} on http://{HOST}:{server.server_port}", flush=True)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    main()
