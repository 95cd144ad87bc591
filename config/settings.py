"""Settings of an Evenreach installation. Everything an operator may change comes from the environment.

Without DATABASE_URL the installation is *embedded*: it keeps its own PostgreSQL, its secrets, logs and
uploads below EVENREACH_DATA (`var/` of the project). `docs/settings.md` lists every variable.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from config import env

django_stubs_ext.monkeypatch()  # lets Django's generic classes be subscripted: ModelForm[User]

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("EVENREACH_DATA") or BASE_DIR / "var").resolve()
DATABASE_URL = env.text("DATABASE_URL")
EMBEDDED = not DATABASE_URL
DEBUG = env.flag("EVENREACH_DEBUG")
HTTPS = env.flag("EVENREACH_HTTPS")

# Secrets. An embedded installation makes its own; elsewhere they must be given (see config/checks.py).
_own = env.installation_secrets(DATA_DIR / "secrets.json") if EMBEDDED else {}
SECRET_KEY = env.text("SECRET_KEY") or _own.get("secret_key", "")
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
FIELD_KEYS = env.words("EVENREACH_FIELD_KEYS") or [k for k in [_own.get("field_key")] if k]
"""Fernet keys of credentials at rest, newest first; the first one encrypts, all of them decrypt."""
HASH_KEY = env.text("EVENREACH_HASH_KEY") or _own.get("hash_key", "")
"""Key of the keyed hashes in the suppression list. It can never be changed: hashes cannot be re-keyed."""

ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.words("EVENREACH_HOSTS")]
CSRF_TRUSTED_ORIGINS = env.words("EVENREACH_ORIGINS")
PUBLIC_URL = env.text("EVENREACH_PUBLIC_URL", "http://localhost:8000").rstrip("/")
"""Where customers and providers reach this installation: the head of short links, pixels and webhooks."""
PRIVATE_HOSTS = [host.lower() for host in env.words("EVENREACH_PRIVATE_HOSTS")]
"""Hosts (or host:port) that webhooks may call although they are not on the public Internet."""
METRICS_TOKEN = env.text("EVENREACH_METRICS_TOKEN")

INSTALLED_APPS = [
    # In road order, in which `ready` fills the registers.
    "audiences",
    "channels",
    "campaigns",
    "reports",
    "config",
    "pghistory",
    "pgtrigger",
    "rules.apps.AutodiscoverRulesConfig",
    "django_htmx",
    "django_tables2",
    "django_filters",
    "crispy_forms",
    "crispy_bootstrap5",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
ROAD = ["audiences", "channels", "campaigns", "reports"]
"""Our apps in road order: the order in which schedules, API paths and metrics are collected."""

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.locale.UserLocaleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "pghistory.middleware.HistoryMiddleware",
    "config.idempotency.IdempotencyMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"
DJANGO_TABLES2_TEMPLATE = "django_tables2/bootstrap5.html"

# Database. One pool per process; the embedded server allows 100 connections in all.
if EMBEDDED:
    from config import postgres

    DATABASES: dict[str, dict[str, Any]] = {
        "default": postgres.default_server(DATA_DIR, _own["database_password"]).django_settings()
    }
else:
    DATABASES = {"default": env.database(DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a pooled connection may have outlived its server
DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {
    "min_size": 0,
    "max_size": env.number("EVENREACH_POOL", 16),
    "timeout": 20,
    "max_idle": 120,
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Cache: shared by all processes, since rate limits live in it. Redis when there is one.
CACHE_URL = env.text("EVENREACH_CACHE_URL")
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}
    if CACHE_URL
    else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "config_cache"},
}

# Celery: see config/celery.py. Empty means the queue inside the database.
BROKER_URL = env.text("BROKER_URL")
TASKS_AT_ONCE = False  # tests run a task where it is published
WORKER_THREADS = env.number("EVENREACH_WORKER_THREADS", 6)
DISPATCH_WORKERS = env.number("EVENREACH_DISPATCH_WORKERS", 2)
"""Turns that may send on one channel at the same time, over all workers."""
DISPATCH_LEASE = env.number("EVENREACH_DISPATCH_LEASE", 180)
"""Seconds after which a worker that recorded nothing of its claim counts as dead."""
LONGEST_TASK = env.number("EVENREACH_LONGEST_TASK", 1800)
"""Seconds a task may run. A message that nobody confirmed is delivered again after this time."""

# Words, numbers, time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.text("EVENREACH_ZONE", "Asia/Shanghai")
# Numbers for people are grouped by filters (count, decimal, money): ids in forms and addresses never are.
USE_THOUSAND_SEPARATOR = False
DEFAULT_CURRENCY = env.text("EVENREACH_CURRENCY", "CNY")

# Campaigns
OWN_PARTITION = env.number("EVENREACH_OWN_PARTITION", 50_000)
"""A release of more touches than this fills partitions of its own."""
UNIVERSAL_HOLDOUT = env.number("EVENREACH_UNIVERSAL_HOLDOUT", 0) / 100
"""Share of all customers kept out of every campaign, given in per cent (1 to 5 are usual)."""
DEMO_CUSTOMERS = env.number("EVENREACH_DEMO_CUSTOMERS", 5000)

# Static files. Installed assets are named one by one in config/vendor.py.
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("EVENREACH_STATIC_ROOT") or DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "config.vendor.VendorFinder",
]
WHITENOISE_USE_FINDERS = EMBEDDED
if EMBEDDED:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # stays empty: files are served where they are found
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if EMBEDDED
        else "config.vendor.HashedStorage"
    },
}
MEDIA_ROOT = Path(env.text("EVENREACH_MEDIA_ROOT") or DATA_DIR / "media")
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

# People and their log-ins
AUTH_USER_MODEL = "config.User"
AUTHENTICATION_BACKENDS = [
    "rules.permissions.ObjectPermissionBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "config.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = None
ACCOUNT_REAUTHENTICATION_REQUIRED = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Evenreach"
EMAIL_BACKEND = env.text("EVENREACH_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")
DEFAULT_FROM_EMAIL = env.text("EVENREACH_FROM_EMAIL", "evenreach@localhost")

# Safety in the browser
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_NAME = "evenreach_session"
CSRF_COOKIE_NAME = "evenreach_csrf"
SESSION_COOKIE_AGE = int(timedelta(days=7).total_seconds())
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
LANGUAGE_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = HTTPS and env.flag("EVENREACH_HTTPS_REDIRECT")
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if HTTPS else 0
if env.flag("EVENREACH_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# REST
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "config.api_keys.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "config.api_keys.HasScope",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "config.pagination.NewestFirst",
    "PAGE_SIZE": 100,
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["config.throttles.CallerThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "anonymous": env.text("EVENREACH_RATE_ANONYMOUS", "60/min"),
        "caller": env.text("EVENREACH_RATE_CALLER", "3000/min"),
    },
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Evenreach",
    "DESCRIPTION": "Plans and runs campaigns over all channels as one.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "COMPONENT_SPLIT_REQUEST": True,
    # Fields of one name and several sets of values: what each set is called in the schema.
    "ENUM_NAME_OVERRIDES": {
        "MediumEnum": "audiences.vocabulary.Medium",
        "StageEnum": "audiences.vocabulary.Stage",
        "ResponseKindEnum": "audiences.vocabulary.ResponseKind",
        "CampaignStateEnum": "campaigns.vocabulary.CampaignState",
        "CampaignKindEnum": "campaigns.models.Campaign.Kind",
        "VersionStateEnum": "campaigns.models.CampaignVersion.State",
        "PlanStateEnum": "campaigns.models.Plan.State",
        "MemberStateEnum": "campaigns.vocabulary.MemberState",
        "TouchStateEnum": "campaigns.vocabulary.TouchState",
        "AttemptStateEnum": "campaigns.vocabulary.AttemptState",
        "CauseEnum": "campaigns.vocabulary.Cause",
        "BroadcastKindEnum": "campaigns.models.Broadcast.Kind",
        "ChannelStateEnum": "channels.models.Channel.State",
        "JobStateEnum": "audiences.models.Job.State",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("EVENREACH_LOG_LEVEL", "INFO").upper()},
    "loggers": {"httpx": {"level": "WARNING"}, "django.server": {"level": "WARNING"}},
}
