"""form_posts: posts of a FrontPage form that are made durable and thanked for, a second, while the relay sends 4 KiB messages."""
import pathlib
import tempfile
import threading
import time

from lib.posts import post_all
from lib.web import Web, web_config

FORM = """<form method="POST" action="--WEBBOT-SELF--"><!--webbot bot="SaveResults" S-Email-Address="boss@d1.test" startspan -->
<!--webbot bot="SaveResults" endspan --><input name="name"><textarea name="text"></textarea></form>"""


def form_posts(place, message, count):
    with tempfile.TemporaryDirectory(prefix="mailroot-site-") as folder:
        site = pathlib.Path(folder)
        site.chmod(0o755)
        (site / "index.htm").write_text(FORM)
        (site / "index.htm").chmod(0o644)
        relay = place.relay(web=web_config({"pages": folder, "connections": 200}))
        relay.start()
        web, is_over = Web(relay), threading.Event()

        def send():
            number = 0
            while not is_over.is_set():
                relay.drop(f"beside{number}.eml", message(number))
                number += 1
            beside.append(number)

        beside = []
        sender = threading.Thread(target=send)
        sender.start()
        rows = [{"name": f"visitor {number}", "text": "words " * 100} for number in range(count)]
        started = time.monotonic()
        thanked = post_all(web.port, "/_vti_bin/shtml.dll/index.htm", rows, connections=16)
        seconds = time.monotonic() - started
        is_over.set()
        sender.join()
        place.sink.wait(len(thanked) + beside[0], 300)
        delivered = sum(event["to"] == "boss@d1.test" for event in relay.events("delivered"))
        relay.close()
        return {"posts_a_second": round(len(thanked) / seconds), "thanked": len(thanked), "delivered": delivered,
                "sent_beside_a_second": round(beside[0] / seconds)}
