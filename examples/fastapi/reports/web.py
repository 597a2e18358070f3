"""The requests: ``uvicorn reports.web:api``. FastAPI and AsyncSchedule share one event loop."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from redlock_beat import (
    AsyncSchedule,
    Entry,
    InvalidSchedule,
    NoSuchEntry,
    RedisUnavailable,
    RedlockBeatError,
    ScheduleBusy,
)

from .celery import app
from .schedules import NotAllowed, Reports

#: Key -> tenant. Yours come from where you keep your customers.
KEYS: dict[str, str] = json.loads(os.environ.get("REPORTS_KEYS", "{}"))

#: What a refused edit is to a browser; every message says what happened and what to do.
STATUS = {NoSuchEntry: 404, InvalidSchedule: 422, ScheduleBusy: 503}


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    async with AsyncSchedule(app, retry_for=3.0) as schedule:  # a request waits no longer for Redis
        api.state.schedule = schedule
        yield


api = FastAPI(title="Reports", lifespan=lifespan)


def reports_of(request: Request, x_key: Annotated[str, Header()]) -> Reports:
    if x_key not in KEYS:
        raise HTTPException(401, "this key is nobody's")
    return Reports(request.app.state.schedule, KEYS[x_key])


Mine = Annotated[Reports, Depends(reports_of)]
Name = Annotated[str, Path(max_length=100, pattern=r"^[\w -]+$")]


@api.exception_handler(RedlockBeatError)
async def refused(request: Request, exc: RedlockBeatError) -> JSONResponse:
    if isinstance(exc, RedisUnavailable):
        # Its message names the server, which is for the log and not for the world.
        detail = "the schedule cannot be reached; "
        detail += "whether the edit took effect is unknown" if exc.unknown else "nothing was changed"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": "5"})
    status = next((code for kind, code in STATUS.items() if isinstance(exc, kind)), 500)
    # Names are shown as the tenant gave them.
    return JSONResponse({"detail": "there is no such report" if status == 404 else str(exc)}, status)


@api.exception_handler(NotAllowed)
async def not_allowed(request: Request, exc: NotAllowed) -> JSONResponse:
    return JSONResponse({"detail": str(exc)}, 403)


class Wanted(BaseModel):
    report: str
    #: A crontab, such as "0 7 * * 1-5".
    when: str = Field(pattern=r"^[\w*/,-]+( [\w*/,-]+){4}$")
    timezone: str = "UTC"


def shown(reports: Reports, entry: Entry) -> dict[str, Any]:
    return {
        "name": reports.shown(entry),
        "report": entry.kwargs["report"],
        "words": entry.words,
        "next": entry.next_due,
    }


@api.get("/reports")
async def mine(reports: Mine) -> list[dict[str, Any]]:
    return [shown(reports, entry) async for entry in reports.list()]


@api.put("/reports/{name}")
async def put(name: Name, wanted: Wanted, reports: Mine) -> dict[str, Any]:
    return shown(reports, await reports.put(name, wanted.report, wanted.when, wanted.timezone))


@api.delete("/reports/{name}", status_code=204)
async def remove(name: Name, reports: Mine) -> None:
    await reports.remove(name)


@api.post("/reports/{name}/run", status_code=202)
async def make_now(name: Name, reports: Mine) -> dict[str, str]:
    return {"task_id": await reports.make_now(name)}


@api.get("/reports/{name}/made")
async def made(name: Name, reports: Mine) -> list[datetime]:
    return await reports.made(name)


@api.get("/health")
async def health(request: Request, response: Response) -> dict[str, Any]:
    """For a probe: whether reports are made at all."""
    found = await request.app.state.schedule.health()
    if not found.ok:
        response.status_code = 503
    return {"ok": found.ok, "why": found.why}
