"""The description for programs, and whether the pages keep to it: asked at random by schemathesis."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import hypothesis
import jsonschema
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from redlock_beat.web.adapters import WSGI
from redlock_beat.web.openapi import description as description_of
from redlock_beat.web.pages import ROUTES

#: Requests for each page; REDLOCK_BEAT_REQUESTS=N sends that many.
REQUESTS = int(os.environ.get("REDLOCK_BEAT_REQUESTS", "5"))
#: What a program sends, so that it gets data.
PROGRAM = {"accept": "application/json"}
CHECKS = (
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
)


@pytest.fixture
def description(page):
    return page.json("/openapi.json")


@pytest.fixture(scope="module")
def read():
    """The description, read once."""
    return schemathesis.openapi.from_dict(description_of(ROUTES, ""))


@pytest.fixture
def described(read, visitor, schedule):
    """The pages, with some entries to ask for."""
    schedule.add("mail", "tasks.mail", "0 7 * * *", labels={"team": "a"}, kwargs={"at": datetime.now(UTC)})
    schedule.add("0", "tasks.mail", 3600)
    schedule.add("once", "tasks.mail", datetime.now(UTC) + timedelta(days=1))
    schedule.trigger("mail")
    read.app = WSGI(visitor(access=lambda request: "all").site)
    return read


def test_what_it_says_is_what_the_page_serves(description):
    assert description == description_of(ROUTES, "")


def test_it_describes_every_page_and_edit_with_its_verb(description):
    assert description["openapi"] == "3.1.0"
    paths = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    assert paths == {(one.method, one.path) for one in ROUTES if one.described}
    ids = [one["operationId"] for methods in description["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)
    assert description["paths"]["/bulk/run"]["post"]["x-verb"] == "run"
    names = [one["name"] for one in description["paths"]["/"]["get"]["parameters"]]
    assert {"q", "state", "after"} <= set(names)


def test_every_reference_in_it_leads_somewhere(description):
    schemas = description["components"]["schemas"]
    text = json.dumps(description)
    assert "#/$defs/" not in text
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
    for one in schemas.values():
        jsonschema.Draft202012Validator.check_schema(one)


def test_below_a_prefix_it_names_that(visitor):
    assert visitor(prefix="/ops").json("/openapi.json")["servers"] == [{"url": "/ops"}]


@pytest.mark.parametrize(("method", "path"), [(one.method, one.path) for one in ROUTES if one.described])
def test_the_pages_keep_to_it(described, method, path):
    @hypothesis.given(described[path][method].as_strategy())
    @hypothesis.settings(
        max_examples=REQUESTS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def asked(case):
        case.call_and_validate(headers=PROGRAM, checks=CHECKS)

    asked()
