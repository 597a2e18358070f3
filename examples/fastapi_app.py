"""A web backend that edits the schedule: FastAPI and AsyncSchedule on one event loop.

pip install fastapi uvicorn redlock-beat
REDIS_URL=redis://localhost:6379/0 uvicorn examples.fastapi_app:api
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

from redlock_beat import AsyncSchedule, EntryExists, InvalidSchedule, NoSuchEntry, StaleRevision

#: The only tasks that may be scheduled from outside.
TASKS = {"tasks.add", "tasks.report"}


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    async with AsyncSchedule.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0")) as schedule:
        api.state.schedule = schedule
        yield


api = FastAPI(lifespan=lifespan)


def the_schedule(request: Request) -> AsyncSchedule:
    return request.app.state.schedule


Scheduled = Annotated[AsyncSchedule, Depends(the_schedule)]


class Reminder(BaseModel):
    task: str
    every: float
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
    try:
        entry = await schedule.add(name, reminder.task, reminder.every, args=reminder.args)
    except EntryExists as exc:
        raise HTTPException(409, str(exc)) from None
    except InvalidSchedule as exc:
        raise HTTPException(422, str(exc)) from None
    return {"name": entry.name, "next_due": entry.next_due, "revision": entry.revision}


@api.patch("/entries/{name}")
async def change(name: str, change: Change, schedule: Scheduled) -> dict[str, Any]:
    try:
        entry = await schedule.update(name, revision=change.revision, args=change.args)
    except NoSuchEntry as exc:
        raise HTTPException(404, str(exc)) from None
    except StaleRevision as exc:
        raise HTTPException(412, str(exc)) from None
    return {"name": entry.name, "revision": entry.revision}


@api.post("/entries/{name}/run")
async def run(name: str, schedule: Scheduled) -> dict[str, str]:
    try:
        return {"task_id": await schedule.trigger(name)}
    except NoSuchEntry as exc:
        raise HTTPException(404, str(exc)) from None


@api.get("/health")
async def health(schedule: Scheduled) -> dict[str, Any]:
    verdict = await schedule.health()
    return {"ok": verdict.ok, "why": verdict.why}
