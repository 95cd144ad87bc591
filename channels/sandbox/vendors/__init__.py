"""The folder of vendors' far sides. It is scanned: one more is one file with one class ``Vendor``."""

import pkgutil
from functools import cache
from importlib import import_module

from channels.sandbox.vendors.base import BaseVendor


@cache
def all_vendors() -> dict[str, type[BaseVendor]]:
    """Every vendor by name. Raises :class:`TypeError` for a file without one."""
    found: dict[str, type[BaseVendor]] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "base" or module.name.startswith("_"):
            continue
        vendor = getattr(import_module(f"{__name__}.{module.name}"), "Vendor", None)
        if vendor is None or not issubclass(vendor, BaseVendor) or vendor.name != module.name:
            raise TypeError(
                f"channels/sandbox/vendors/{module.name}.py must hold a class Vendor(BaseVendor) "
                f"with name = {module.name!r}"
            )
        found[module.name] = vendor
    return dict(sorted(found.items()))
