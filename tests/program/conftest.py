"""Fixtures: each gives a maker, and closes what was made when the test is over."""
import pathlib
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib.names import NameServer, ScriptedNameServer  # noqa: E402
from lib.ports import MX_PORT  # noqa: E402
from lib.receivers import AioSink, PostfixJudge, PostfixReceiver, Sink  # noqa: E402
from lib.relay import Relay, merge  # noqa: E402
from lib.scripted import ScriptedServer  # noqa: E402

CORPORA = pathlib.Path(__file__).resolve().parents[1] / "corpora"


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="fewer rounds of the long tests")
    parser.addoption("--drain", type=int, default=0, help="messages of the cluster's drain over a fail-over (default 2000)")


@pytest.fixture
def quick(request):
    return request.config.getoption("--quick")


@pytest.fixture
def corpora():
    return CORPORA


@pytest.fixture
def open_things():
    """Whatever is appended is closed at the end, last first; the first failure is told, after all are closed."""
    things = []
    yield things
    failure = None
    for thing in reversed(things):
        try:
            thing.close()
        except Exception as error:  # the other things must be closed too
            failure = failure or error
    if failure:
        raise failure


def maker(make):
    @pytest.fixture
    def fixture(open_things):
        def create(*arguments, **options):
            thing = make(*arguments, **options)
            open_things.append(thing)
            return thing
        return create
    return fixture


make_relay = maker(Relay)
make_server = maker(ScriptedServer)
make_names = maker(NameServer)
make_scripted_names = maker(ScriptedNameServer)
make_aio = maker(AioSink)
make_sink = maker(Sink)
make_postfix = maker(PostfixReceiver)
make_judge = maker(PostfixJudge)


@pytest.fixture
def site_folder():
    """A folder for pages that the web process, another user, may read."""
    with tempfile.TemporaryDirectory(prefix="mailroot-site-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        yield path


def everything_to(server):
    """Config: all mail goes to that server's address, without DNS."""
    return {"delivery": {"port": server.port}, "route": {"*": {"hosts": [f"[{server.address}]:{server.port}"]}}}


@pytest.fixture
def relay_to(make_relay):
    """A relay that sends everything to one server: relay_to(server, {config changes})."""
    def create(server, config=None, **options):
        return make_relay(merge(everything_to(server), config or {}), **options)
    return create


@pytest.fixture
def relay_with_names(make_relay, make_names):
    """A relay that asks a name server with these records; mail servers share MX_PORT."""
    def create(records, config=None, broken=(), **options):
        names = make_names(records, broken)
        base = {"dns": {"servers": [names.address]}, "delivery": {"port": MX_PORT}}
        relay = make_relay(merge(base, config or {}), **options)
        relay.names = names
        return relay
    return create
