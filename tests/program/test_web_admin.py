"""The admin page in Chromium: every action an operator has, axe-core on every view, hostile words shown as words."""
import pytest

from lib import mail
from lib.browser import browse, needs_browser
from lib.ports import free_port
from lib.web import Web, web_config

HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script>'


class Nobody:
    address = "127.0.0.1"

    def __init__(self):
        self.port = free_port()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_action_of_the_admin_page_works_and_is_accessible(relay_to, tmp_path, monkeypatch, scheme):
    web = Web(relay_to(Nobody(), {"web": web_config(), "queue": {"retry_first": "1h"}}))
    for number in range(4):
        web.relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@d{number % 2}.test", subject=f"{HOSTILE} {number}"))
    web.relay.drop(f"{HOSTILE.replace('/', '')}.eml", b"To: c@d.test\r\nSubject: " + HOSTILE.encode() + b"\r\n\r\nhi\r\n")
    web.relay.wait_event("refused")
    web.relay.wait_events("deferred", 4)
    eml = tmp_path / "dropped.eml"
    eml.write_bytes(mail.message(to="dropped@d1.test", subject="dropped"))
    monkeypatch.setenv("DARK", "1" if scheme == "dark" else "0")
    done = browse("admin.js", f"http://127.0.0.1:{web.port}", web.token(), tmp_path, eml)
    assert done["findings"] == [] and done["faults"] == []
    assert done["facts"]["listed"] == 4 and HOSTILE in done["facts"]["header"]
    for kind, wanted in (("held", {}), ("released", {}), ("retried", {}), ("rerouted", {}), ("removed", {}),
                         ("queued", {"to": "dropped@d1.test"}), ("queued", {"to": "typed@d0.test"}), ("taken", {"from": "mended@sender.test"})):
        web.relay.wait_event(kind, **wanted)
