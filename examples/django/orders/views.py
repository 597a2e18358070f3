"""Placing an order, and paying it."""

from datetime import timedelta

from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from redlock_beat.django import Schedule
from reminders.tasks import confirm

from .models import Order

REMIND_AFTER = timedelta(days=3)


@csrf_exempt  # an example without a page
@require_POST
def place_order(request):
    """Place an order, confirm it, and have a reminder sent in three days.

    Neither happens before the order is committed, or when it is rolled back.
    """
    order = Order.objects.create(email=request.POST["email"])
    confirm.delay_on_commit(order.pk)
    Schedule().on_commit().add(
        f"remind order {order.pk}",
        "reminders.tasks.remind",
        timezone.now() + REMIND_AFTER,
        args=(order.pk,),
        labels={"kind": "reminder"},
        actor="the shop",
    )
    return JsonResponse({"order": order.pk}, status=201)


@csrf_exempt
@require_POST
def mark_as_paid(request, pk):
    """An order is paid: nobody is to be reminded of it."""
    order = get_object_or_404(Order, pk=pk)
    order.paid = True
    order.save()
    if not Schedule().has(f"remind order {order.pk}"):  # it was sent already
        return HttpResponse(status=204)
    Schedule().on_commit().remove(f"remind order {order.pk}", actor="the shop", why="paid")
    return HttpResponse(status=204)
