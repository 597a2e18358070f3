"""What is believed of what a proxy says."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSetting
from redlock_beat.web.http import Request
from redlock_beat.web.proxies import networks, seen_through

FORWARDED = {
    "host": "inner:8000",
    "x-forwarded-for": "6.6.6.6, 9.9.9.9, 10.0.0.2",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "beat.example",
    "x-forwarded-prefix": "/ops/",
    "forwarded": "for=1.1.1.1",
}


def seen(trusted, peer="10.0.0.1", **headers):
    return seen_through(
        Request("GET", "/", headers={**FORWARDED, **headers}, peer=peer, prefix="/beat"), networks(trusted)
    )


def test_a_trusted_proxy_tells_the_visitors_address_scheme_host_and_prefix():
    request = seen(["10.0.0.0/8"])
    assert (request.peer, request.scheme, request.host, request.prefix) == (
        "9.9.9.9",
        "https",
        "beat.example",
        "/ops/beat",
    )
    assert set(request.headers) == {"host"}
    assert seen(["*"]).peer == "6.6.6.6"


@pytest.mark.parametrize(("trusted", "peer"), [((), "10.0.0.1"), (["10.0.0.0/8"], "11.0.0.1"), (["10.0.0.0/8"], None)])
def test_nobody_else_is_believed(trusted, peer):
    request = seen(trusted, peer)
    assert (request.peer, request.scheme, request.host, request.prefix) == (peer, "http", "inner:8000", "/beat")


def test_rubbish_of_a_trusted_proxy_is_left_out():
    request = seen(["10.0.0.1"], **{"x-forwarded-proto": "javascript", "x-forwarded-prefix": "//evil.example"})
    assert (request.scheme, request.prefix) == ("http", "/beat")
    assert seen(["10.0.0.1"], **{"x-forwarded-for": ""}).peer is None  # not the proxy's: nobody knows whose it is


def test_proxies_that_are_no_addresses_are_refused():
    with pytest.raises(InvalidSetting, match=r"10\.0\.0\.0/8"):
        networks(["proxy.example"])
