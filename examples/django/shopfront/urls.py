"""The pages of the project."""

from django.contrib import admin
from django.urls import include, path

from orders import views

urlpatterns = [
    path("admin/beat/", include("redlock_beat.django.urls")),  # the page, for users of the admin
    path("admin/", admin.site.urls),
    path("orders/", views.place_order),
    path("orders/<int:pk>/paid/", views.mark_as_paid),
]
