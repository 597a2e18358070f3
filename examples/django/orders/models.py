"""Orders."""

from django.db import models


class Order(models.Model):
    """What somebody has ordered."""

    email = models.EmailField()
    paid = models.BooleanField(default=False)
    cancelled = models.BooleanField(default=False)
    reminded = models.IntegerField(default=0)
    placed = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return f"Order {self.pk} of {self.email}"
