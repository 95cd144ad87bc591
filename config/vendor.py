"""Static files of installed packages: each one named, served below `vendor/`, none committed."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.storage import FileSystemStorage, Storage

FILES = {
    "vendor/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "vendor/tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "vendor/echarts.min.js": "echarts/dist/echarts.min.js",
}


def modules() -> Path:
    return Path(settings.BASE_DIR) / "node_modules"


class VendorFinder(BaseFinder):
    """Finds the files above; a package that is not installed is simply not found (a check tells)."""

    def check(self, **kwargs: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        source = FILES.get(path)
        found = str(modules() / source) if source and (modules() / source).exists() else None
        if find_all:
            return [found] if found else []
        return found or []

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Storage]]:
        storage = _Renamed(location=modules())
        for path, source in FILES.items():
            if (modules() / source).exists():
                yield path, storage


class _Renamed(FileSystemStorage):
    """Opens a file of FILES by the name it is served under."""

    def path(self, name: str) -> str:
        return super().path(FILES.get(name, name))


class HashedStorage(ManifestStaticFilesStorage):
    """Names with a hash, for production. Source maps are not installed, so references to them stay."""

    patterns = tuple(
        (
            extension,
            tuple(p for p in patterns if "sourceMappingURL" not in (p if isinstance(p, str) else p[0])),
        )
        for extension, patterns in ManifestStaticFilesStorage.patterns
    )
