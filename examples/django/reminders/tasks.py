"""What is sent to whoever has ordered."""

from celery import shared_task
from celery.utils.log import get_task_logger
from django.db.models import F

from orders.models import Order

logger = get_task_logger(__name__)


@shared_task(unique=True, default_retry_delays=(60, 300, 900))
def confirm(pk):
    """Confirm an order; while one like it waits or runs, it is not sent again."""
    order = Order.objects.get(pk=pk)
    logger.info("Thank you for order %s", order)


@shared_task
def remind(pk):
    """Remind somebody of an order, unless it is paid or cancelled by now."""
    changed = Order.objects.filter(pk=pk, paid=False, cancelled=False).update(reminded=F("reminded") + 1)
    logger.info("Order %s: %s", pk, "reminded" if changed else "needs no reminder")


@shared_task
def report(kind):
    """Count the orders of a kind."""
    count = Order.objects.filter(paid=kind == "paid").count()
    logger.info("There are %d orders: %s", count, kind)
    return count
