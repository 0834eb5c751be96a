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
    web.relay.drop("second.eml", b"To: c@d.test\r\n\r\nhi\r\n")
    web.relay.wait_events("refused", 2)
    web.relay.wait_events("deferred", 4)
    eml = tmp_path / "dropped.eml"
    eml.write_bytes(mail.message(to="dropped@d1.test", subject="dropped"))
    monkeypatch.setenv("DARK", "1" if scheme == "dark" else "0")
    done = browse("admin.js", f"http://127.0.0.1:{web.port}", web.token(), tmp_path, eml)
    assert done["findings"] == [] and done["faults"] == []
    assert done["facts"]["listed"] == 4 and HOSTILE in done["facts"]["header"]
    assert done["facts"]["spans"] == {span: [span] for span in ("day", "month", "hour")}
    assert sorted(row[:2] for row in done["facts"]["destinations"]) == [["d0.test", "2"], ["d1.test", "2"]]
    assert all("refused" in row[5].lower() for row in done["facts"]["destinations"]), "the server's own words"
    assert ["*", f"[127.0.0.1]:{web.relay.config['delivery']['port']}", "may", "20"][:3] in [row[:3] for row in done["facts"]["domains"]]
    assert len(web.relay.events("held")) == 2 and len(web.relay.events("rerouted")) == 2
    for kind, wanted in (("held", {}), ("released", {}), ("retried", {}), ("rerouted", {}), ("removed", {}),
                         ("queued", {"to": "dropped@d1.test"}), ("queued", {"to": "typed@d0.test"}), ("queued", {"to": "dragged@d0.test"}), ("taken", {"from": "mended@sender.test"})):
        web.relay.wait_event(kind, **wanted)


NAMED = {  # what a screen reader hears in each view
    "now": ['heading "Now" [level=1]', 'img "Over the last hour', 'table', 'columnheader "What the server said last"', 'button "Hour" [pressed]'],
    "queue": ['heading "Queue" [level=1]', 'search', 'textbox "Recipient"', 'combobox "State"', 'button "Hold" [disabled]', 'checkbox "Choose all that are shown"',
              'status'],
    "trace": ['heading "Trace" [level=1]', 'textbox "Pickup file, Message-ID, queue id or recipient"'],
    "badmail": ['heading "Badmail" [level=1]', 'status: Nothing lies there.'],
    "domains": ['heading "Domains" [level=1]', 'columnheader "TLS"'],
    "send": ['heading "Send" [level=1]', 'textbox "Subject"', 'button "Choose a file"'],
}


@needs_browser
def test_the_admin_page_works_by_keyboard_narrow_and_read_aloud(relay_to, tmp_path):
    web = Web(relay_to(Nobody(), {"web": web_config(), "queue": {"retry_first": "1h"}}))
    for number in range(4):
        web.relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@d{number % 2}.test"))
    web.relay.wait_events("deferred", 4)
    done = browse("keyboard.js", f"http://127.0.0.1:{web.port}", web.token(), tmp_path)
    assert done["unseen"] == [] and done["wide"] == [] and (done["held"], done["left"]) == ("held", 1)
    web.relay.wait_event("removed")
    for view, names in NAMED.items():
        for name in ('banner', 'navigation "Views"', 'main', *names):
            assert name in done["tree"][view], (view, name, done["tree"][view])
