"""The table of orders."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes it."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254)),
                ("paid", models.BooleanField(default=False)),
                ("cancelled", models.BooleanField(default=False)),
                ("reminded", models.IntegerField(default=0)),
                ("placed", models.DateTimeField(auto_now_add=True)),
            ],
        )
    ]
