"""Every time zone has an IANA name, or is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.recurrence.zones import read_wall, segment, zone_name


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


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Pacific/Apia"])
def test_every_instant_and_reading_of_the_calendar_has_its_segment(name):
    for year in (1, 2, 3, 1900, 9996, 9997, 9998, 9999):
        at = round((datetime(year, 6, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        found = segment(name, at)
        assert found.start <= at < found.end
        assert len(read_wall(name, at).instants) == 1
    for at in (-(2**50), 2**50):
        assert segment(name, at).start <= at < segment(name, at).end
