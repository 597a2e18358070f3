"""A web backend that edits the schedule: FastAPI and AsyncSchedule on one event loop.

pip install fastapi uvicorn redlock-beat
REDIS_URL=redis://localhost:6379/0 uvicorn examples.fastapi_app:api
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from redlock_beat import (
    AsyncSchedule,
    EntryExists,
    InvalidSchedule,
    NoSuchEntry,
    RedisUnavailable,
    RedlockBeatError,
    ScheduleBusy,
    StaleRevision,
)

#: The only tasks that may be scheduled from outside.
TASKS = {"tasks.add", "tasks.report"}


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
    async with AsyncSchedule.from_url(url, retry_for=3.0) as schedule:  # a web request waits no longer
        api.state.schedule = schedule
        yield


api = FastAPI(lifespan=lifespan)


def the_schedule(request: Request) -> AsyncSchedule:
    return request.app.state.schedule


Scheduled = Annotated[AsyncSchedule, Depends(the_schedule)]

#: What a refused edit is to a browser; every message says what happened and what to do.
STATUS = {
    NoSuchEntry: 404,
    EntryExists: 409,
    StaleRevision: 412,
    InvalidSchedule: 422,
    ScheduleBusy: 503,
}


@api.exception_handler(RedlockBeatError)
async def refused(request: Request, exc: RedlockBeatError) -> JSONResponse:
    if isinstance(exc, RedisUnavailable):
        # Its message names the server, which is for the log and not for the world.
        detail = "the schedule cannot be reached; "
        detail += "whether the edit took effect is unknown" if exc.unknown else "nothing was changed"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": "5"})
    status = next((code for kind, code in STATUS.items() if isinstance(exc, kind)), 500)
    return JSONResponse({"detail": str(exc)}, status)


class Reminder(BaseModel):
    task: str
    #: Seconds, a span such as "10m", or a crontab such as "0 7 * * 1-5".
    when: float | str
    args: list[Any] = []


class Change(BaseModel):
    revision: int
    args: list[Any]


@api.get("/entries")
async def entries(schedule: Scheduled, prefix: str | None = None) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "task": one.task, "next_due": one.next_due, "revision": one.revision}
        async for one in schedule.entries(prefix=prefix)
    ]


@api.put("/entries/{name}", status_code=201)
async def add(name: str, reminder: Reminder, schedule: Scheduled) -> dict[str, Any]:
    if reminder.task not in TASKS:
        raise HTTPException(403, f"{reminder.task} may not be scheduled")
    entry = await schedule.add(name, reminder.task, reminder.when, args=reminder.args)
    return {"name": entry.name, "next_due": entry.next_due, "revision": entry.revision}


@api.patch("/entries/{name}")
async def change(name: str, change: Change, schedule: Scheduled) -> dict[str, Any]:
    entry = await schedule.update(name, revision=change.revision, args=change.args)
    return {"name": entry.name, "revision": entry.revision}


@api.delete("/entries/{name}", status_code=204)
async def remove(name: str, schedule: Scheduled, revision: int | None = None) -> None:
    await schedule.remove(name, revision=revision)


@api.post("/entries/{name}/run", status_code=202)
async def run(name: str, schedule: Scheduled) -> dict[str, str]:
    return {"task_id": await schedule.trigger(name)}


@api.get("/health")
async def health(schedule: Scheduled, response: Response) -> dict[str, Any]:
    verdict = await schedule.health()
    if not verdict.ok:
        response.status_code = 503
    return {"ok": verdict.ok, "why": verdict.why}
