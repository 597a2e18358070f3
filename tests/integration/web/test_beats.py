"""The page of the beats: who leads, what is wrong, and the hold of everything."""

from __future__ import annotations

from tests.beats import LASTING, make_app


def test_it_shows_who_leads_and_what_happened(page, valkey, beats, schedule):
    assert "No beat leads" in page.get("/beats").text
    beat = beats(valkey, **LASTING).lead()
    schedule.add("mail", "tasks.add", 0.2)
    beat.until(lambda: schedule.history("mail"))
    beat.until(lambda: schedule.status().replicas)
    shown = page.get("/beats")
    assert "No beat leads" not in shown.text
    leader = schedule.status().leader
    assert leader in shown.text
    assert 'class="state state-leader"' in shown.html
    assert "state-sent" in shown.html
    assert page.json("/beats")["leader"] == leader


def test_a_hold_is_made_shown_in_red_and_released(page, schedule):
    shown = page.done("/beats/hold", note="new <b>database</b>")
    assert "Everything is held until it is released." in shown.text
    assert "new &lt;b&gt;database" in shown.html
    assert 'class="alarm held"' in shown.html
    held = schedule.held()
    assert (held.actor, held.note) == ("web@127.0.0.1", "new <b>database</b>")
    assert "The hold is released." in page.done("/beats/release").text
    assert schedule.held() is None
    assert "Nothing was held." in page.done("/beats/release").text


def test_a_time_that_cannot_be_is_said_at_its_field_and_nothing_is_held(page, schedule):
    for wrong, words in (("soon", "'soon' is not a time"), ("2020-01-01T00:00", "which is past")):
        shown = page.post("/beats/hold", until=wrong, note="kept")
        assert shown.status == 422
        assert words in shown.text
        assert f'value="{wrong}"' in shown.html
        assert 'value="kept"' in shown.html
    assert schedule.held() is None
    sent = page.ask("POST", "/beats/hold", body=b'{"until": "soon"}', content_type="application/json")
    assert (sent.status, "not a time" in sent.json["errors"]["until"]) == (422, True)
    sent = page.post("/beats/hold", until="2100-01-01T00:00")
    assert sent.status == 303
    assert schedule.held().until.isoformat() == "2099-12-31T23:00:00+00:00"  # on the clock of Berlin


def test_who_may_only_look_sees_no_button(visitor, schedule):
    schedule.hold(note="maintenance")
    shown = visitor(access=lambda request: "read_only").get("/beats")
    assert "Everything is held" in shown.text
    assert "/beats/" not in shown.html
    refused = visitor(access=lambda request: {"pause"}).post("/beats/release")
    assert refused.status == 403
    assert schedule.held() is not None


def test_quarantine_left_out_and_loss_are_seen(page, valkey, beats, schedule):
    app = make_app(valkey.url())
    app.conf.beat_schedule = {"odd": {"task": "tasks.add", "schedule": object()}}
    beat = beats(valkey, {"odd": {"task": "tasks.add", "schedule": object()}}).lead()
    client = valkey.client()
    client.hset("{redlock-beat}:entries", "bad", "rubbish")
    client.zadd("{redlock-beat}:due", {"bad": 1})
    beat.until(lambda: schedule.status().quarantine)
    client.set("{redlock-beat}:loss", "the ledger is older")
    shown = page.get("/beats")
    assert "Quarantined 1" in shown.text
    assert "Left out of beat_schedule 1" in shown.text
    assert "Redis has lost data." in shown.text
    assert "Acknowledged: " in page.done("/beats/acknowledge", why="restored").text
    row = schedule.log()[0]
    assert (row.what, row.actor, row.why) == ("acknowledged", "web@127.0.0.1", "restored")
    assert "There was no loss" in page.done("/beats/acknowledge").text
    assert len([one for one in schedule.log() if one.what == "acknowledged"]) == 1
    assert "Redis has lost data." not in page.get("/beats").text
