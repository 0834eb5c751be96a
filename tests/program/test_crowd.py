"""A queue of many messages: what looks at it doesn't hold up what sends."""
import json
import socket

import pytest

from lib import crowd, mail
from lib.web import Web, web_config

COUNT = 200_000


@pytest.fixture(scope="module")
def crowded():
    from lib.relay import Relay
    relay = Relay({"web": web_config()})
    relay.stop()
    crowd.fill(relay, COUNT)
    relay.start()
    yield relay
    relay.close()


def ask(relay, **request):
    """A connection that has asked and not yet read."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(120)
    client.connect(str(relay.control))
    client.sendall(json.dumps(request).encode() + b"\n")
    return client


def read(client):
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1 << 20)
        assert more, data[:200]
        data += more
    client.close()
    return json.loads(data)


NOBODY = {"recipient": "nobody@nowhere.test"}  # every row is read, none is found


@pytest.fixture
def walks(crowded):
    """Three connections that have asked for walks over all rows, which are made one after the other."""
    assert crowded.status()["messages"] == COUNT
    asked = [ask(crowded, do="list", filter=NOBODY) for _ in range(3)]
    yield asked
    for client in asked:
        client.close()


def is_waiting(client):
    client.setblocking(False)
    try:
        return bool(client.recv(1, socket.MSG_PEEK)) and False
    except BlockingIOError:
        return True
    finally:
        client.settimeout(120)


def test_the_loop_answers_while_the_whole_queue_is_read(crowded, walks):
    """What is asked of the loop behind three walks over all rows has its answer before them: the loop doesn't walk."""
    assert crowded.request(do="queue", verb="hold", filter={"ids": ["0000000000000001"]}) == {"ok": True, "count": 0}
    assert is_waiting(walks[-1])
    assert [read(client) for client in walks] == 3 * [{"ok": True, "messages": [], "has_more": False}]


def test_status_is_told_while_the_whole_queue_is_read(crowded, walks):
    status = crowded.status()
    assert is_waiting(walks[-1])
    assert status["messages"] == COUNT and status["octets"] == 4096 * COUNT and status["counted_ms"] > 0
    assert all(read(client)["ok"] for client in walks)


def test_a_walk_under_way_does_not_hold_up_the_end(crowded, walks):
    """SIGTERM cuts the first walk short and those that wait; each asker is told, or sees its connection closed."""
    crowded.stop()
    crowded.start()
    for client in walks:
        try:
            end = client.recv(1 << 16)
        except ConnectionResetError:  # its question had not been read yet
            end = b""
        assert end == b"" or json.loads(end)["ok"] is False


def test_all_pages_of_a_listing_are_the_whole_queue_once(crowded):
    """Paging beyond 500: each page begins behind the last one's end."""
    web, seen, after = Web(crowded), [], ""
    for _ in range(6):
        status, page = web.api("GET", f"/v1/messages?limit=500&domain=d7.test{after}")
        assert status == 200 and len(page["messages"]) == 500 and page["has_more"]
        seen += [message["id"] for message in page["messages"]]
        assert page["next"] == seen[-1]
        after = "&after=" + page["next"]
    assert seen == sorted(set(seen)) and len(seen) == 3000
    status, page = web.api("GET", "/v1/messages?limit=500&domain=d7.test&after=" + "7" + "f" * 15)
    assert status == 200 and page["messages"] == [] and page["has_more"] is False and "next" not in page
    assert web.api("GET", "/v1/messages?after=x")[0] == 422
