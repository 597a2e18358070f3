"""The page below other people's frameworks: Flask, FastAPI, Starlette. (Django's is in ``integration/django``.)"""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from redlock_beat import web
from redlock_beat.web.once import new_id

#: What browsers send with a form of the page.
BROWSER = {"accept": "text/html", "sec-fetch-site": "same-origin"}


def flask(schedule, **options):
    app = Flask("shop")
    app.add_url_rule("/", view_func=lambda: "the shop")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/ops/beat": web.wsgi(schedule, **options)})
    return app.test_client()


def fastapi(schedule, **options):
    api = FastAPI()
    api.mount("/ops/beat", web.asgi(schedule, **options))
    return TestClient(api, follow_redirects=False)


def starlette(schedule, **options):
    inner = Starlette(routes=[Mount("/beat", web.asgi(schedule, **options))])
    return TestClient(Starlette(routes=[Mount("/ops", inner)]), follow_redirects=False)


@pytest.mark.parametrize("mounted", [flask, fastapi, starlette])
def test_the_page_works_below_a_mount(schedule, mounted):
    schedule.add("a/b ü", "tasks.mail", 3600)
    client = mounted(schedule, access=lambda request: web.Grant("all", actor=request.headers["x-user"]))
    headers = {**BROWSER, "x-user": "ann"}
    shown = client.get("/ops/beat/", headers=headers)
    assert (shown.status_code, "a/b ü" in shown.text) == (200, True)
    for url in re.findall(r'(?:src|href)="(/[^"]*)"', shown.text):
        found = client.get(url.replace("&amp;", "&"), headers=headers)
        assert found.status_code == 200, url
    form = {"name": "a/b ü", "note": "why", "request": new_id()}
    done = client.post("/ops/beat/entry/pause", data=form, headers=headers)
    assert (done.status_code, done.headers["location"]) == (303, "/ops/beat/entry?name=a%2Fb+%C3%BC")
    assert (schedule["a/b ü"].note, schedule["a/b ü"].paused_by) == ("why", "ann")
    assert client.get("/ops/beat/?format=json", headers=headers).json


@pytest.mark.parametrize("mounted", [flask, fastapi])
def test_mounted_without_access_it_serves_no_stranger(schedule, mounted):
    client = mounted(schedule)
    assert client.get("/ops/beat/", headers={**BROWSER, "host": "shop.example"}).status_code == 403


def test_a_mount_without_its_slash_leads_to_the_page(schedule):
    client = flask(schedule, access=lambda request: "all")
    assert client.get("/ops/beat?q=1").headers["location"] == "/ops/beat/?q=1"
