"""Accounts of the search platforms' adapters that talk to the sandbox, and people for their lists."""

from typing import Any

from channels.accounts import defaults
from channels.adapters import adapter_class
from channels.adapters.base import Account, AudienceChange
from channels.sandbox.server import Sandbox


def people(n: int, first: int = 0) -> list[AudienceChange]:
    return [AudienceChange(k, "email", f"Customer{k}@Example.com ") for k in range(first, first + n)]


def phones(n: int, first: int = 0) -> list[AudienceChange]:
    return [AudienceChange(k, "phone", f"+86138{k:08d}") for k in range(first, first + n)]


def _account(adapter: str, told: dict[str, Any], secrets: dict[str, str]) -> Account:
    return Account(9, "main", "search", defaults(adapter_class(adapter)) | told, secrets)


def google_settings(sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
    vendor: Any = sandbox.vendors["google_ads"]
    base = f"http://127.0.0.1:{sandbox.ports['google_ads']}"
    config = vendor.config
    told = {
        "customer_id": config.customer_id, "login_customer_id": config.login_customer_id,
        "client_id": config.client_id, "base_url": base, "token_url": f"{base}/token", "endpoint": vendor.endpoint,
        "ca_file": vendor.ca_file, "timeout": 5,
    }  # fmt: skip
    secrets = {
        "developer_token": config.developer_token, "client_secret": config.client_secret,
        "refresh_token": config.refresh_token,
    }  # fmt: skip
    return told, secrets


def google_account(sandbox: Sandbox, **settings: Any) -> Account:
    told, secrets = google_settings(sandbox)
    return _account("google_ads", told | settings, secrets)


def microsoft_settings(sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
    config: Any = sandbox.vendors["microsoft_ads"].config
    base = f"http://127.0.0.1:{sandbox.ports['microsoft_ads']}"
    told = {
        "account_id": config.account_id, "customer_id": config.customer_id, "client_id": config.client_id,
        "base_url": base, "token_url": f"{base}/token", "timeout": 5, "report_wait": 5,
    }  # fmt: skip
    return told, {"developer_token": config.developer_token, "refresh_token": config.refresh_token}


def microsoft_account(sandbox: Sandbox, **settings: Any) -> Account:
    told, secrets = microsoft_settings(sandbox)
    return _account("microsoft_ads", told | settings, secrets)


def baidu_settings(sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
    config: Any = sandbox.vendors["baidu"].config
    base = f"http://127.0.0.1:{sandbox.ports['baidu']}"
    told = {
        "user_name": config.user_name, "user_id": str(config.user_id), "app_id": config.app_id, "base_url": base,
        "token_url": f"{base}/oauth/refreshToken", "timeout": 5,
    }  # fmt: skip
    return told, {"secret_key": config.secret_key, "refresh_token": config.refresh_token}


def baidu_account(sandbox: Sandbox, **settings: Any) -> Account:
    told, secrets = baidu_settings(sandbox)
    return _account("baidu", told | settings, secrets)
