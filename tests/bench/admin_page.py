"""admin_page: milliseconds until the admin page shows all it has to show, in a browser, with a deep queue behind it."""
import pathlib

from lib import crowd
from lib.browser import CHROMIUM, MODULES, browse
from lib.watch import wait_until
from lib.web import Web, web_config
from places import Place, percentiles

DESTINATIONS = 1000


def admin_page(count, times=20):
    if not CHROMIUM or not (MODULES / "playwright-core").exists():
        return None
    place = Place(has_sink=False)
    relay = place.relay(web=web_config())
    relay.start()
    relay.stop()
    crowd.fill(relay, count, domains=DESTINATIONS)
    relay.start()
    web = Web(relay)
    wait_until(lambda: relay.status()["messages"] == count, 60, what="the first count")
    found = browse(pathlib.Path(__file__).with_name("admin_page.js"), f"http://127.0.0.1:{web.port}", web.token(), times, seconds=600)
    relay.close()
    place.close()
    return {"messages": count, "destinations": DESTINATIONS, "ready_ms": percentiles(found["ms"]), "note": found["note"]}
