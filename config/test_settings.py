"""Settings for tests; tests/pgplugin.py has put DATABASE_URL and the secrets into the environment."""

import os

from config.settings import *  # noqa: F403
from config.settings import DATABASES, REST_FRAMEWORK

# Tests open and close many connections of their own; a pool would keep test databases from being dropped.
DATABASES["default"]["OPTIONS"].pop("pool")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
ALLOWED_HOSTS = ["*"]
ACCOUNT_RATE_LIMITS = False
REST_FRAMEWORK = REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"anonymous": None, "caller": None}}
TASKS_AT_ONCE = True
# A database that is migrated already (tests/pgplugin.py); without one every test database is migrated anew.
if template := os.environ.get("EVENREACH_TEST_TEMPLATE"):
    DATABASES["default"]["TEST"] = {"TEMPLATE": template}
