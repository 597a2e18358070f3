"""The example project's settings for the tests: databases of their own, and a second one."""

import os

from shopfront.settings import *  # noqa: F403
from shopfront.settings import DATABASES, INSTALLED_APPS

if os.environ.get("DB_ENGINE", "").endswith("mysql"):
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)  # it stands in for mysqlclient
    pymysql.install_as_MySQLdb()

DIRECTORY = os.environ["DJANGO_TEST_DIRECTORY"]
ENGINE = os.environ.get("DB_ENGINE", "django.db.backends.sqlite3")
if ENGINE.endswith("sqlite3"):
    DATABASES["default"] |= {"NAME": f"{DIRECTORY}/default.sqlite3", "OPTIONS": {"timeout": 20}}
DATABASES["other"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{DIRECTORY}/other.sqlite3"}
INSTALLED_APPS += os.environ.get("DJANGO_TEST_APPS", "").split()
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Other tests of the process make apps of their own.
CELERY_REDLOCK_BEAT_APP = "shopfront.celery:app"
CELERY_REDLOCK_BEAT_LEASE_TTL = 2.0
CELERY_REDLOCK_BEAT_RENDER_LIMIT = 3.0
