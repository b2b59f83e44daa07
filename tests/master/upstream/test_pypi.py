"""Requests to an index: their credentials, proxies, conditions and limits."""

import base64
import threading
import time

import pytest

import upstream
from helpers import patience
from piwheels.core import fetching
from piwheels.core.database.rows import WatchedRow
from piwheels.core.errors import Fatal
from piwheels.core.fetching import Limits, UpstreamFault, nearness
from piwheels.core.host.pip_config import IndexAccess
from piwheels.master.upstream.pypi import Upstream

DEMO = WatchedRow("demo")


@pytest.fixture
def toy():
    with upstream.Toy() as made:
        made.release("demo", "1.0")
        yield made


@pytest.fixture
def other():
    with upstream.Toy() as made:
        made.release("demo", "2.0")
        yield made


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def ask():
    """Return a maker of clients for an address; each is closed after the test."""
    made = []

    def client(url, *, limits=None, **access):
        made.append(Upstream(IndexAccess(url, **access), limits=limits))
        return made[-1]

    yield client
    for each in made:
        each.close()


def with_secret(url):
    return url.replace("//", "//us%40er:se%3Acret@")


BASIC = "Basic " + base64.b64encode(b"us@er:se:cret").decode()


def test_credentials_of_the_address_are_sent_and_never_shown(toy, ask):
    client = ask(with_secret(toy.url) + "simple")
    assert client.simple == toy.url + "simple/"
    assert client.page(DEMO).found
    assert toy.asked[0].headers["authorization"] == BASIC
    toy.faults.append(upstream.says(b"", "401 Unauthorized"))
    with pytest.raises(UpstreamFault, match="netrc") as fault:
        client.page(DEMO)
    assert "cret" not in str(fault.value)
    with pytest.raises(Fatal) as refusal:
        ask("ftp://us:secret@index.example/")
    assert "secret" not in str(refusal.value)


def test_another_host_does_not_get_the_credentials(toy, other, ask):
    toy.faults.append(upstream.to(other.url + "simple/demo/"))
    page = ask(with_secret(toy.url) + "simple/").page(DEMO)
    assert [release.version for release in page.project.releases.values()] == ["2.0"]
    assert "authorization" in toy.asked[0].headers
    assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", 2), ("127.8.9.1", 2), ("::1", 2), ("::ffff:127.0.0.1", 2),
        ("::", 2), ("169.254.169.254", 2), ("fe80::1%eth0", 2), ("10.1.2.3", 1), ("fd00::1", 1),
        ("192.168.0.1", 1), ("100.64.0.1", 1), ("::ffff:10.0.0.1", 1), ("8.8.8.8", 0),
        ("2606:4700::1", 0),
    ],
)  # fmt: skip
def test_nearness_of_addresses(address, expected):
    assert nearness(address) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "127.1", "[::1]"])
@pytest.mark.parametrize("near", [0, 1])
def test_a_distant_index_cannot_redirect_to_this_machine(
    host, near, toy, other, *, ask, monkeypatch
):
    """The address of the connection counts, however the redirect writes it."""
    answers = iter([near])  # the first connection is to the index
    monkeypatch.setattr(fetching, "nearness", lambda address: next(answers, nearness(address)))
    toy.faults.append(upstream.to(other.url.replace("127.0.0.1", host) + "simple/demo/"))
    client = ask(toy.url.replace("127.0.0.1", "localhost") + "simple/")
    with pytest.raises(UpstreamFault, match=r"an address of this machine or its network") as fault:
        client.page(DEMO)
    assert not fault.value.of_index
    assert not other.asked
    assert client.page(DEMO).found


def test_a_fault_of_another_server_is_not_one_of_the_index(toy, other, ask):
    toy.faults.append(upstream.to(other.url + "simple/demo/"))
    other.faults.append(upstream.says(b"", "503 Service Unavailable", Retry_After="3600"))
    with pytest.raises(UpstreamFault) as fault:
        ask(toy.url + "simple/").page(DEMO)
    assert (fault.value.of_index, fault.value.retry_after) == (False, 3600)


def test_credentials_come_from_netrc_too(toy, ask, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login us@er password se:cret\n")
    ask(toy.url + "simple/").page(DEMO)
    assert toy.asked[0].headers["authorization"] == BASIC


@pytest.mark.parametrize("how", ["pip", "environment"])
def test_a_proxy_is_used(toy, ask, how, monkeypatch):
    access = {"proxy": with_secret(toy.url)} if how == "pip" else {}
    if how == "environment":
        monkeypatch.setenv("http_proxy", with_secret(toy.url))
    toy.faults.append(lambda t, c, _: c.sendall(upstream.answer(t.document("demo"))))
    assert ask("http://index.example/simple/", **access).page(DEMO).found
    assert toy.asked[0].path == "http://index.example/simple/demo/"
    assert toy.asked[0].headers["proxy-authorization"] == BASIC


def test_the_changelog_is_next_to_the_index(toy, ask):
    client = ask(toy.url + "simple/")
    toy.happen("demo", "1.0", "new release")
    assert client.xmlrpc == toy.url + "pypi"
    assert client.call("changelog_last_serial") == 101
    assert client.call("changelog_since_serial", 100) == toy.events


def test_the_list_of_the_index_is_never_read(toy, ask):
    client = ask(toy.url + "simple/")
    assert client.root_serial() == 0
    toy.root_serial = 88
    assert client.root_serial() == 88
    assert {request.method for request in toy.asked} == {"HEAD"}


def test_requests_are_conditional_if_there_are_validators(toy, ask):
    toy.etags = True
    client = ask(toy.url + "simple/")
    first = client.page(DEMO)
    second = client.page(DEMO._replace(etag=first.etag, modified="Sun, 01 Mar 2026 12:00:00 GMT"))
    assert first.project is not None
    assert second == (True, None, first.etag, "Sun, 01 Mar 2026 12:00:00 GMT")
    assert "if-none-match" not in toy.asked[0].headers
    assert toy.asked[1].headers["if-modified-since"].startswith("Sun")
    assert toy.asked[1].headers["accept"].startswith(upstream.JSON)


@pytest.mark.parametrize("tag", ['"\xff"', '"' + "x" * 300, "a\tb"])
def test_a_validator_that_cannot_be_sent_back_is_dropped(toy, ask, tag):
    def respond(t, connection, _):
        head, _, body = upstream.answer(t.document("demo"), ETag="TAG").partition(b"TAG")
        connection.sendall(head + tag.encode("latin-1") + body)

    toy.faults.append(respond)
    assert ask(toy.url + "simple/").page(DEMO).etag == ""


@pytest.mark.parametrize("date", ["Sun, 01 Nov 1970 10:00:00 GMT", "Fri, 01 Nov 2080 10:00:00 GMT"])
def test_a_retry_date_counts_from_the_date_of_the_answer(toy, ask, date):
    later = date.replace("10:00:00", "10:02:00")
    toy.faults.append(upstream.says(b"", "503 Service Unavailable", Retry_After=later, Date=date))
    with pytest.raises(UpstreamFault) as fault:
        ask(toy.url + "simple/").page(DEMO)
    assert fault.value.retry_after == 120


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("999999999999", 999_999_999),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1e3", None),
        ("Sun, 01 Nov 2026 10:00:00 GMT", None),  # without a Date to compare it with
    ],
)
def test_the_delay_that_an_index_requests(toy, ask, text, seconds):
    toy.faults.append(upstream.says(b"", "429 Too Many Requests", Retry_After=text))
    with pytest.raises(UpstreamFault) as fault:
        ask(toy.url + "simple/").page(DEMO)
    assert (fault.value.retry_after, fault.value.of_index) == (seconds, True)


def test_closing_aborts_a_request_that_hangs(toy, ask):
    client, faults = ask(toy.url + "simple/", limits=Limits(60, 60)), []

    def request():
        try:
            client.page(DEMO)
        except UpstreamFault as fault:
            faults.append(fault)

    toy.faults.append(upstream.hang)
    thread = threading.Thread(target=request)
    thread.start()
    while not toy.asked or not client._waiting_sockets:
        time.sleep(0.01)
    client.close()
    thread.join(patience(10))
    assert faults
    with pytest.raises(UpstreamFault, match="stopping"):
        client.page(DEMO)


def test_a_page_that_drips_ends_long_before_the_time_limit(toy, ask):
    toy.faults.append(upstream.drip(upstream.HEAD + b"\r\n", b" "))
    with pytest.raises(UpstreamFault, match="slower than 4,000 bytes per second"):
        ask(toy.url + "simple/", limits=Limits(0.2, 600)).page(DEMO)


def test_an_index_without_tls_is_a_fault(ask, toy):
    client = ask(toy.url.replace("http:", "https:") + "simple/", limits=Limits(0.2, 1))
    with pytest.raises(UpstreamFault, match=r"nothing arrived for 0\.2 s"):
        client.page(DEMO)
