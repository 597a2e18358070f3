"""Every time zone has an IANA name, or is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.recurrence.zones import zone_name


def test_zone_names(monkeypatch):
    assert zone_name(UTC) == zone_name(None) == "UTC"
    assert zone_name(ZoneInfo("Asia/Tokyo")) == "Asia/Tokyo"
    with pytest.raises(InvalidSchedule, match="no IANA name"):
        zone_name(datetime.now().astimezone().tzinfo.__class__(timedelta(hours=3)))

    class LocalTimezone:
        pass

    monkeypatch.setenv("TZ", "Europe/Paris")
    assert zone_name(LocalTimezone()) == "Europe/Paris"
    monkeypatch.delenv("TZ")
    monkeypatch.setattr("os.path.realpath", lambda path: "/usr/share/zoneinfo/Europe/Rome")
    assert zone_name(LocalTimezone()) == "Europe/Rome"
    monkeypatch.setattr("os.path.realpath", lambda path: "/etc/localtime")
    with pytest.raises(InvalidSchedule, match="timezone"):
        zone_name(LocalTimezone())
