"""The page of ``redlock_beat.web`` under the admin's authentication, in one line of the project's ``urls.py``::

    path("admin/beat/", include("redlock_beat.django.urls"))

Who may look is who has the admin's permission to view periodic tasks, and the other permissions allow what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, path, re_path, reverse
from django.views.decorators.csrf import csrf_exempt

from .project import schedule

if TYPE_CHECKING:
    from ..web.http import Request
    from ..web.site import Site

app_name = "redlock_beat"

#: A permission -> what it allows on the page.
VERBS = {
    "add": ("add", "copy", "import"),
    "change": ("edit", "rename", "pause", "resume", "skip", "hold", "release", "acknowledge"),
    "delete": ("remove",),
    "run": ("run", "backfill", "cancel", "unlock"),
}
_site: Site | None = None


def access(request: Request) -> Any:
    """What a user of the admin may do on the page; whoever has not logged in is sent to the admin's login.

    >>> urlpatterns = [path("beat/", include("redlock_beat.django.urls"))]   # doctest: +SKIP
    """
    from ..web.access import Grant
    from ..web.http import redirect

    user = request.raw.user
    if not user.is_authenticated or not user.is_active or not user.is_staff:
        login = redirect_to_login(request.raw.get_full_path(), _login_url())
        return redirect(login["Location"]) if not user.is_authenticated else None
    if not (user.has_perm("redlock_beat.view_periodictask") or user.has_perm("redlock_beat.change_periodictask")):
        return None
    verbs = {
        verb for one, verbs in VERBS.items() if user.has_perm(f"redlock_beat.{one}_periodictask") for verb in verbs
    }
    return Grant(verbs, actor=f"{user.get_username()} (admin)")


def _login_url() -> str | None:
    try:
        return str(reverse("admin:login"))
    except NoReverseMatch:
        return None  # settings.LOGIN_URL


@csrf_exempt  # the page has a guard of its own: forms of other origins are refused by Sec-Fetch-Site or Origin
def page(request: HttpRequest, below: str = "") -> HttpResponse:
    """One request to the page."""
    from ..web.http import MAX_BODY, Request

    prefix = request.path.removesuffix(below).rstrip("/")
    try:
        body: bytes | None = request.body if len(request.body) <= MAX_BODY else None
    except RequestDataTooBig:
        body = None
    answer = site().handle(
        Request(
            request.method,
            "/" + below,
            request.META.get("QUERY_STRING", ""),
            {name.lower(): value for name, value in request.headers.items()},
            body,
            request.META.get("REMOTE_ADDR"),
            request.scheme,
            prefix,
            raw=request,
        )
    )
    response = HttpResponse(answer.body, status=answer.status, content_type=answer.type)
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            response[name] = value
    return response


def site() -> Site:
    """The page of this process."""
    from ..web.options import Options
    from ..web.site import Site

    global _site
    there = schedule()
    if _site is None or _site.app is not there:
        _site = Site(there, Options(access=access))
    return _site


urlpatterns = [path("", page, name="page"), re_path(r"^(?P<below>.+)$", page, name="below")]
