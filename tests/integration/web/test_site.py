"""What every page keeps to: headers, refusals, forms that take effect once, and what is said when Redis is away."""

from __future__ import annotations

import logging
import re
import threading

import pytest

from redlock_beat import Schedule
from redlock_beat.web.access import Grant
from redlock_beat.web.logins import Token
from redlock_beat.web.once import new_id
from redlock_beat.web.options import Options
from redlock_beat.web.pages import ROUTES
from redlock_beat.web.site import Site
from tests.servers import eventually
from tests.web import Visitor

TOKEN = "0123456789abcdefXYZ"
#: A name with markup, quotes, a right-to-left override and a path in it.
NASTY = "<script>alert(1)</script>\"'>&amp;\u202egnp.exe/../?#%2e{{7*7}}"
PAGES = [one for one in ROUTES if one.method == "GET"]


@pytest.mark.parametrize("route", PAGES, ids=lambda one: one.path)
def test_every_page_carries_every_header_and_no_script_of_its_own(page, schedule, route):
    schedule.add("mail", "tasks.mail", 30)
    found = page.get(route.path, name="mail") if route.path.startswith("/entry") else page.get(route.path)
    assert found.status == 200, found.text
    headers = found.headers
    csp = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert csp == {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    if route.template:
        assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|\sstyle=|javascript:", found.html)
        assert all(url.startswith("/") for url in re.findall(r'(?:src|href|action)="([^"#]*)"', found.html))
        assert found.html.count("<h1") == 1


@pytest.mark.parametrize("route", PAGES, ids=lambda one: one.path)
def test_markup_in_every_field_is_shown_and_never_markup(page, schedule, route):
    args, kwargs = (NASTY,), {NASTY: NASTY}
    schedule.add(
        NASTY, NASTY, 30, args, kwargs, labels={"team": "<img src=x>"}, why=NASTY, actor=NASTY, options={"queue": NASTY}
    )
    schedule.pause(NASTY, note=NASTY, actor=NASTY)
    schedule.trigger(NASTY, why=NASTY)
    schedule.cancel(NASTY)
    found = page.get(route.path, name=NASTY) if route.path.startswith("/entry") else page.get(route.path, q=NASTY[:4])
    assert found.status == 200, found.text
    if not route.template:
        return
    assert "<script>alert" not in found.html
    assert "<img src=x" not in found.html
    for tag in re.findall(r"<[^>]*>", found.html):  # no attribute was left by a quote
        assert "alert" not in re.sub(r'"[^"]*"', "", tag)


def test_an_entry_of_any_name_has_a_page_that_links_lead_to(page, schedule):
    for name in (NASTY, "a/b", ".", "..", "\U0001f680" * 500, " ", "ü"):
        schedule.add(name, "tasks.mail", 30)
        assert page.json("/entry", name=name)["name"] == name
        assert page.done("/entry/pause", name=name, note="").status == 200
        assert schedule[name].enabled is False


def test_without_access_only_this_machine_is_served(visitor, schedule):
    assert visitor().get("/").status == 200
    for other in (visitor(peer="10.0.0.1"), visitor(peer=None)):
        assert other.get("/").status == 403
        assert "access=" in other.get("/").text
        assert other.post("/entry/pause", name="mail").status == 403
    assert visitor().ask("GET", "/", host="evil.example").status == 403
    assert visitor().ask("GET", "/", x_forwarded_for="127.0.0.1").status == 403


def test_access_decides_on_every_page_and_every_verb(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30)
    schedule.add("other", "tasks.mail", 30)
    some = visitor(peer="10.0.0.1", access=lambda request: Grant({"pause"}, actor="ann"))
    assert some.done("/entry/pause", name="mail").status == 200
    assert schedule["mail"].paused_by == "ann"
    assert schedule.log("mail")[0].actor == "ann"
    refused = some.post("/entry/run", name="mail")
    assert (refused.status, "not allowed to run" in refused.text) == (403, True)
    assert "Run now" not in some.get("/entry", name="mail").text
    reader = visitor(access=lambda request: "read_only")
    for route in ROUTES:
        if route.method == "POST" and route.verb:
            assert reader.post(route.path, name="other").status == 403, route.path
    assert reader.get("/").status == 200
    nobody = visitor(access=lambda request: None)
    assert {nobody.get(route.path).status for route in PAGES} == {403}


def test_an_access_that_fails_lets_nobody_in_and_leaks_nothing(visitor, caplog):
    def fails(request):
        raise RuntimeError("s3cret")

    found = visitor(access=fails).get("/")
    assert (found.status, "s3cret" in found.html) == (500, False)
    number = re.search(r"number ([0-9a-f]{8})", found.text)[1]
    assert any(number in one.getMessage() and "s3cret" in one.getMessage() for one in caplog.records)
    assert visitor(access=lambda request: True).get("/").status == 422


def test_a_change_asked_for_by_another_page_is_refused(page, schedule):
    schedule.add("mail", "tasks.mail", 30)
    form = f"name=mail&request={new_id()}".encode()
    kind = {"content_type": "application/x-www-form-urlencoded"}
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": None, "origin": "https://evil.example"},
        {"sec_fetch_site": None, "origin": "null"},
        {"sec_fetch_site": None},
    ):
        assert page.ask("POST", "/entry/pause", body=form, **kind, **headers).status == 403, headers
    assert schedule["mail"].enabled
    assert page.ask("GET", "/entry/pause", "name=mail").status == 405
    assert schedule["mail"].enabled
    same = {"sec_fetch_site": None, "origin": "http://localhost:8765"}
    assert page.ask("POST", "/entry/pause", body=form, **kind, **same).status == 303


def test_a_program_sends_json_and_needs_no_origin(page, schedule):
    schedule.add("mail", "tasks.mail", 30)
    headers = {"sec_fetch_site": None, "content_type": "application/json", "accept": "application/json"}
    done = page.ask("POST", "/entry/pause", body=b'{"name": "mail", "note": "why"}', **headers)
    assert (done.status, done.json) == (200, {"done": "Paused mail."})
    assert schedule["mail"].note == "why"
    for body in (b"[]", b"{", b"\xff", b'{"name": 7}', b"{}"):
        refused = page.ask("POST", "/entry/pause", body=body, **headers)
        assert (refused.status, refused.json["status"]) == (422, 422)


def test_without_the_cookie_of_the_token_nothing_is_shown_or_changed(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30)
    ann = visitor(peer="10.0.0.1", access=Token(TOKEN))
    assert ann.get("/").status == 403
    assert ann.post("/entry/pause", name="mail").status == 403
    assert schedule["mail"].enabled
    assert "Signing in" in ann.get("/", token=TOKEN).text
    assert ann.get("/").status == 200
    assert ann.done("/entry/pause", name="mail").status == 200


def test_a_form_that_is_sent_twice_takes_effect_once(page, schedule, valkey):
    schedule.add("mail", "tasks.mail", 3600)
    (form,) = page.get("/entry", name="mail").forms("/entry/run")
    assert page.done("/entry/run", **form).status == 200
    again = page.post("/entry/run", **form)
    assert (again.status, "sent before" in again.text) == (409, True)
    assert valkey.client().zcard(schedule.keys.manual) == 1
    assert 0 < valkey.client().pttl(schedule.keys.request(f"form-{form['request']}")) <= 300_000
    assert page.post("/entry/run", name="mail", request="").status == 422
    assert page.post("/entry/run", name="mail", request="x" * 24).status == 422


def test_a_form_that_changed_nothing_may_be_sent_again(page, schedule):
    form = {"name": "mail", "request": new_id()}
    assert page.post("/entry/pause", **form).status == 404
    schedule.add("mail", "tasks.mail", 30)
    stale = page.post("/entry/pause", **form, revision=7)
    assert (stale.status, "edited by somebody else" in stale.text) == (409, True)
    assert page.done("/entry/pause", **form, revision=1).status == 200


def test_after_a_failure_a_form_stays_sent_and_says_why(page, schedule, monkeypatch):
    schedule.add("mail", "tasks.mail", 30)
    form = {"name": "mail", "request": new_id()}

    def fails(*args, **kwargs):
        raise RuntimeError("the edit may be in force")

    with monkeypatch.context() as broken:
        broken.setattr(Schedule, "trigger", fails)
        assert page.post("/entry/run", **form).status == 500
    again = page.post("/entry/run", **form)
    assert (again.status, "whether the change took effect is unknown" in again.text) == (409, True)
    assert schedule.waiting("mail") == []
    assert page.done("/entry/run", name="mail").status == 200  # the page, loaded again, has another form


def test_what_an_edit_did_is_said_once_and_not_to_the_script(page, schedule):
    schedule.add("mail", "tasks.mail", 30)
    assert page.post("/entry/pause", name="mail").status == 303
    assert "Paused mail." not in page.ask("GET", "/entry", "name=mail", x_live="1").text
    assert "Paused mail." in page.get("/entry", name="mail").text
    assert "Paused mail." not in page.get("/entry", name="mail").text


def test_below_a_prefix_every_url_has_it(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30)
    below = visitor(prefix="/ops/beat")
    assert below.get("").headers["Location"] == "/ops/beat/"
    for path in ("/", "/entry", "/log"):
        found = below.get(path, name="mail")
        urls = re.findall(r'(?:src|href|action)="([^"#]*)"', found.html)
        assert len(urls) > 8
        assert all(url.startswith("/ops/beat/") for url in urls), urls
    assert below.done("/entry/pause", name="mail").status == 200
    style = re.search(r'href="/ops/beat(/static/style\.[0-9a-f]{12}\.css)"', found.html)[1]
    asset = below.get(style)
    assert (asset.status, asset.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert below.get("/static/style.000000000000.css").status == 404
    assert below.get("/static/../__init__.py").status == 404


def test_colours_are_chosen_by_a_cookie_and_lead_back_to_this_page_alone(page):
    assert 'data-theme="system"' in page.get("/").html
    assert page.post("/theme", theme="dark", back="/log?n=5").headers["Location"] == "/log?n=5"
    assert 'data-theme="dark"' in page.get("/").html
    for back in ("/\t/evil.example", "https://evil.example/", "//evil.example", "/\\evil.example", "", "log"):
        assert page.post("/theme", theme="light", back=back).headers["Location"] == "/"
    refused = page.post("/theme", theme="pink")
    assert refused.status == 422
    assert 'name="back"' in page.get("/log").html
    assert 'name="back"' not in refused.html  # nobody can go back to the answer to a form


def test_a_head_is_a_get_without_a_body_and_other_methods_are_refused(page):
    head = page.ask("HEAD", "/")
    assert (head.status, head.response.body) == (200, b"")
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert page.ask(method, "/").status == 405


def test_what_is_too_large_is_refused(page):
    assert page.get("/", q="x" * 20_000).status == 414
    assert page.get("/", q="x" * 501).status == 422
    assert page.ask("POST", "/entry/run", body=None).status == 413
    assert page.ask("GET", "/", "&".join(f"a{i}=1" for i in range(2_000))).status == 414
    many = "&".join(f"a{i}=1" for i in range(2_000)).encode()
    assert page.ask("POST", "/entry/run", body=many, content_type="application/x-www-form-urlencoded").status == 422


def test_redis_away_is_said_without_its_address_and_ends_by_itself(own_server, caplog):
    server = own_server("valkey")
    with Schedule.from_url(server.url(user=":s3cret"), retry_for=0.2, socket_timeout=0.2) as schedule:
        page = Visitor(Site(schedule, Options()))
        port = str(server.port)
        server.stop()
        away = page.get("/")
        assert (away.status, away.headers["Retry-After"]) == (503, "5")
        assert "Redis is away" in away.text
        assert '<meta http-equiv="refresh" content="5">' in away.html
        refused = page.post("/entry/run", name="mail")
        assert (refused.status, "Nothing was changed" in refused.text) == (503, True)
        assert page.ask("GET", "/", accept="application/json").json["status"] == 503
        for found in (away, refused):
            assert port not in found.html
            assert "s3cret" not in found.html
            assert "Traceback" not in found.html
        assert page.get("/healthz").status == 503
        assert page.get("/livez").status == 200, "no restart mends it"
        assert any(port in one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
        assert "s3cret" not in caplog.text


def test_a_visit_waits_for_no_other(page, schedule, monkeypatch):
    asks, answers, ask = threading.Event(), threading.Event(), schedule.ask

    def slow(request):
        if threading.current_thread() is waiting and getattr(request, "commands", None) == [("TIME",)]:
            asks.set()
            assert answers.wait(60)
        return ask(request)

    monkeypatch.setattr(schedule, "ask", slow)
    waiting = threading.Thread(target=page.get, args=("/runs",))
    waiting.start()
    assert asks.wait(60)
    assert page.get("/log").status == 200
    assert waiting.is_alive()
    answers.set()
    waiting.join()


def test_it_goes_on_when_redis_is_back(own_server):
    server = own_server("valkey")
    with Schedule.from_url(server.url(), retry_for=0.2) as schedule:
        page = Visitor(Site(schedule, Options()))
        server.stop()
        assert page.get("/").status == 503
        server.start()
        eventually(lambda: page.get("/").status == 200, "it is served again")
