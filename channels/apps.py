from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChannelsConfig(AppConfig):
    name = "channels"
    verbose_name = _("Channels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audiences import jobs
        from audiences.access import Role
        from audiences.registers import (
            Follower,
            NavigationEntry,
            followers,
            home_cards,
            import_kinds,
            navigation,
            reach_targets,
        )
        from channels import audience_sync, cards, employees, inbox, reaching
        from channels.loads.receipts import RECEIPTS
        from channels.loads.spend import SPEND
        from channels.loads.wallets import BALANCES, WALLET

        import_kinds.add("receipts", RECEIPTS)
        import_kinds.add("spend", SPEND)
        import_kinds.add("wallet", WALLET)
        import_kinds.add("balances", BALANCES)

        jobs.job_kind(employees.SYNC_JOB, employees.run, _("Employees and their customers"))
        reach_targets.add("channels", reaching.targets)
        followers.add(
            "channels.audiences",
            Follower(
                merged=audience_sync.merged, erasing=audience_sync.erasing, exported=audience_sync.exported
            ),
        )
        followers.add("channels.inbox", Follower(erasing=inbox.erasing))

        group = _("Channels")
        for position, (name, label, icon) in enumerate(
            (
                ("channels", _("Channels"), "antenna"),
                ("inbox", _("Inbox"), "inbox"),
                ("spend", _("Spend"), "coin"),
                ("wallets", _("Wallets"), "wallet"),
                ("rules", _("Platform rules"), "gavel"),
                ("kol", _("KOL accounts"), "users"),
            )
        ):
            entry = NavigationEntry(label, f"channels:{name}", icon, 200 + 10 * position, group=group)
            navigation.add(f"channels.{name}", entry)
        entry = NavigationEntry(
            _("Daily push"), "channels:pushes", "send", 225, (Role.CHANNEL_ADMIN,), group=group
        )
        navigation.add("channels.pushes", entry)
        home_cards.add("channels.troubles", cards.TROUBLES)
        home_cards.add("channels.pushes", cards.PUSHES)
        home_cards.add("channels.expiring", cards.EXPIRING)
