"""Addresses of the shell: first page, one's own profile, users and roles, API keys, audit trail."""

from django.urls import path

from config.views import api_keys, audit, home, people, profile

app_name = "config"
urlpatterns = [
    path("", home.home, name="home"),
    path("language/", profile.language, name="language"),
    path("profile/", profile.profile, name="profile"),
    path("users/", people.users, name="users"),
    path("users/new/", people.new_user, name="new_user"),
    path("users/<int:pk>/", people.user, name="user"),
    path("users/<int:pk>/password/", people.reset_password, name="reset_password"),
    path("users/<int:pk>/active/", people.set_active, name="set_active"),
    path("api-keys/", api_keys.api_keys, name="api_keys"),
    path("api-keys/new/", api_keys.new_api_key, name="new_api_key"),
    path("api-keys/<int:pk>/revoke/", api_keys.revoke, name="revoke_api_key"),
    path("audit/", audit.audit_trail, name="audit_trail"),
]
