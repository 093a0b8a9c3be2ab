import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop import app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = app.make_server(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def get(port: int, target: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection(app.HOST, port, timeout=5)
    connection.request("GET", target)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_the_shop_is_healthy(port):
    assert get(port, "/health") == (200, {"status": "ok"})


def test_the_version_is_told(port):
    assert get(port, "/version") == (200, {"version": app.VERSION})


def test_the_front_page_is_open(port):
    assert get(port, "/")[0] == 200


def test_the_catalogue_is_shown(port):
    status, body = get(port, "/products")
    assert (status, body["products"]["mug"]) == (200, 1_250)


def test_a_checkout_tells_the_order_and_the_total(port):
    status, body = get(port, "/checkout?order=A-1001&items=tea,tea&coupon=WELCOME10")
    assert (status, body["order"], body["total_cents"]) == (200, "A-1001", 810 + 490)


def test_a_cart_that_cannot_be_sold_is_the_customers_error(port):
    status, body = get(port, "/checkout?order=A-1001&items=gold")
    assert (status, body["error"]) == (400, "not in the catalogue: gold")


def test_an_unknown_page_is_not_found(port):
    assert get(port, "/admin")[0] == 404


def test_a_connection_serves_many_requests(port):
    connection = http.client.HTTPConnection(app.HOST, port, timeout=5)
    connection.connect()
    first = connection.sock
    for _ in range(10):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (answer.version, answer.status) == (11, 200)
        answer.read()
        assert connection.sock is first
    connection.close()


def test_connections_are_served_at_the_same_time(port):
    # A connection that is open and silent must not keep others waiting.
    silent = http.client.HTTPConnection(app.HOST, port, timeout=5)
    silent.connect()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(port, "/health")[0], range(32)))
    silent.close()
    assert answers == [200] * 32


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 1.0])
def test_a_planted_fault_hits_its_share_of_the_orders(share):
    orders = 20_000
    hits = sum(app.breaks(f"order-{number}", share) for number in range(orders))
    assert abs(hits / orders - share) < 0.015


def test_a_planted_fault_hits_the_same_orders_again():
    orders = [f"order-{number}" for number in range(100)]
    assert [app.breaks(order, 0.2) for order in orders] == [app.breaks(order, 0.2) for order in orders]
