"""A message in place of a page while Redis is away."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from ..errors import InvalidSetting, RedisUnavailable, mask


def unless_redis_is_away(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view that shows a message while the schedule cannot be read."""

    @wraps(view)
    def guarded(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            response = view(self, request, *args, **kwargs)
            if isinstance(response, TemplateResponse):
                response.render()  # what the template asks for is asked here
            return response
        except (RedisUnavailable, InvalidSetting) as exc:
            context = {
                **self.admin_site.each_context(request),
                "title": "The schedule cannot be read",
                "why": mask(exc),
            }
            return TemplateResponse(request, "admin/redlock_beat/away.html", context, status=503)

    return guarded
