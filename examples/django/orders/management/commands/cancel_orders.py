"""Cancels orders that nobody pays."""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders.models import Order


class Command(BaseCommand):
    """``manage.py cancel_orders --days 30``."""

    help = "Cancel orders that were not paid for so many days."

    def add_arguments(self, parser):
        """The options of the command."""
        parser.add_argument("--days", type=int, default=30)

    def handle(self, *args, days, **options):
        """Cancel them."""
        if days < 1:
            raise CommandError("--days must be 1 or more.")
        old = Order.objects.filter(paid=False, cancelled=False, placed__lt=timezone.now() - timedelta(days=days))
        self.stdout.write(f"{old.update(cancelled=True)} orders are cancelled.")
