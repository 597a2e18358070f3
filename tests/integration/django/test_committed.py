"""What is done on commit is done once, when all that was open has committed; and not at all after a roll-back."""

from __future__ import annotations

import asyncio
import unittest
from typing import ClassVar

import pytest


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def calls(app):
    """Makes a call on commit, and says how often it was made."""
    from redlock_beat.django.committed import on_commit

    made = []

    def call(**how):
        on_commit(lambda: made.append(1), **how)

    call.made = made
    return call


def atomic(alias="default"):
    from django.db import transaction

    return transaction.atomic(using=alias)


def test_a_call_outside_of_any_transaction_is_made_at_once(calls):
    calls()
    assert calls.made == [1]


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_call_waits_for_the_commit_of_whatever_database_is_open(calls, alias):
    with atomic(alias):
        calls()
        assert calls.made == []
    assert calls.made == [1]


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_rolled_back_transaction_takes_its_calls_with_it(calls, alias):
    with pytest.raises(Undo), atomic(alias):
        calls()
        raise Undo
    assert calls.made == []


def test_a_savepoint_takes_its_own_calls_with_it_and_no_others(calls):
    with atomic():
        calls()
        with pytest.raises(Undo), atomic():
            calls()
            calls()
            raise Undo
    assert calls.made == [1]


def test_a_call_inside_of_two_transactions_waits_for_both(calls):
    with atomic():
        with atomic("other"):
            calls()
        assert calls.made == []
    assert calls.made == [1]


@pytest.mark.parametrize("inner", ["default", "other"])
def test_a_call_inside_of_two_transactions_needs_both(calls, inner):
    outer = "other" if inner == "default" else "default"
    with atomic(outer), pytest.raises(Undo), atomic(inner):
        calls()
        raise Undo
    assert calls.made == []


def test_the_database_that_is_named_counts_alone(calls):
    with atomic():
        calls(using="other")
        assert calls.made == [1]
        with atomic("other"):
            calls(using="other")
        assert calls.made == [1, 1]
    with pytest.raises(Undo), atomic():
        with atomic("other"):
            calls(using="other")
        raise Undo
    assert calls.made == [1, 1, 1]


def test_in_an_async_view_no_transaction_is_open_and_a_call_is_made(calls):
    from asgiref.sync import sync_to_async

    def in_a_transaction():
        with atomic():
            calls()
            assert calls.made == [1]

    async def view():
        calls()
        calls(using="other")
        del calls.made[1:]
        await sync_to_async(in_a_transaction)()

    asyncio.run(view())
    assert calls.made == [1, 1]


def test_an_error_reaches_whoever_commits_unless_it_is_to_be_logged(app, caplog):
    from redlock_beat.django.committed import on_commit

    def fails():
        raise OSError("the broker is away")

    with pytest.raises(OSError, match="away"), atomic():
        on_commit(fails)
    with atomic():
        on_commit(fails, robust=True)
    assert "the broker is away" in caplog.text


def test_tests_of_the_project_capture_what_is_done_on_commit(calls):
    from django.test import TestCase

    class Case(TestCase):
        databases: ClassVar = {"default", "other"}

        def test(self):
            with self.captureOnCommitCallbacks(execute=True) as found, atomic():
                calls()
            assert len(found) == 1

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert calls.made == [1]
