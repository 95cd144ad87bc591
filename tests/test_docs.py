"""The documents say what is true: every setting, command, adapter, address and path they name exists, and back."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
CODE = ("config", "audiences", "channels", "campaigns", "reports", "tests", "bench")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OUTSIDE = (
    "LC_",
    "PATH",
    "XDG_",
    "DJANGO_",
    "PYTHON",
    "PYTEST_",
    "HOME",
    "TMPDIR",
)  # other programs' variables


PROVEN = re.compile(
    r"\*\*(Proven against a foreign peer|(Proven )?only against our sandbox|No far side)\b[^*]*\*\*", re.I
)


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def python_files() -> Iterator[Path]:
    for folder in CODE:
        yield from (ROOT / folder).rglob("*.py")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# Settings -------------------------------------------------------------------------------------


@cache
def settings_read() -> dict[str, str | None]:
    """Variable → its default where the code states a plain one."""
    found: dict[str, str | None] = {}
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            whole = ast.unparse(node.func)
            reader = whole.startswith("env.") or whole in {
                "os.environ.get",
                "os.environ.setdefault",
                "os.getenv",
            }
            if not reader or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = str(node.args[0].value)
            ours = path.is_relative_to(ROOT / "config") or name.startswith("EVENREACH_")
            if ours and "_TEST_" not in name and name.isupper() and not name.startswith(OUTSIDE):
                default = node.args[1] if len(node.args) > 1 else None
                plain = isinstance(default, ast.Constant) and default.value not in ("", None)
                known = found.get(name)
                found[name] = str(default.value) if plain else known  # type: ignore[union-attr]
    return found


def settings_documented() -> dict[str, str]:
    """Variable → the cell of its default."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", text("docs/settings.md"), re.M)
    return dict(rows)


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    assert settings_read().keys() == settings_documented().keys()


@pytest.mark.parametrize("name", sorted(name for name, default in settings_read().items() if default))
def test_a_documented_default_is_the_one_in_the_code(name: str) -> None:
    default = settings_read()[name]
    wanted = {"True": "1", "False": "0"}.get(str(default), default)
    assert f"`{wanted}`" in settings_documented()[name]


# Commands and targets -------------------------------------------------------------------------


def commands() -> set[str]:
    return {name for name, app in get_commands().items() if app in {"config", *settings.ROAD}}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.M))


def test_every_command_of_ours_is_documented() -> None:
    told = set(re.findall(r"^\| `manage\.py ([a-z_]+)", text("docs/operations.md"), re.M))
    assert told == commands()


def test_every_make_target_is_documented() -> None:
    told = set(re.findall(r"^\| `make ([a-z-]+)", text("docs/operations.md"), re.M))
    assert told == targets()


@pytest.mark.parametrize("document", PAGES, ids=name_of)
def test_a_page_names_only_commands_and_targets_that_exist(document: Path) -> None:
    words = document.read_text("utf-8")
    made = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", words, re.M)
    asked = re.findall(r"manage\.py ([a-z_]+)", words)
    known = set(get_commands()) | {"test"}
    assert set(made) <= targets()
    assert set(asked) <= known


# Adapters -------------------------------------------------------------------------------------


def test_every_adapter_has_a_page_that_names_each_of_its_settings() -> None:
    from channels.adapters import all_adapters

    for name, adapter in all_adapters().items():
        if not adapter.__module__.startswith("channels."):
            continue  # a test's own, added to this process
        page = ROOT / "docs" / "adapters" / f"{name}.md"
        assert page.exists(), f"docs/adapters/{name}.md is missing"
        assert re.search(PROVEN, page.read_text("utf-8")), (
            f"{page.name} does not say in bold what it is proven against"
        )
        words = page.read_text("utf-8")
        for setting in adapter.settings:
            assert f"`{setting.name}`" in words, f"{page.name} does not tell of {setting.name}"


# Links and paths ------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", PAGES, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _mark, anchor = target.partition("#")
        where = (document.parent / file).resolve() if file else document
        assert where.exists(), f"{document.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(where), f"{document.name} links to {target}: no such heading"


def paths_named(page: Path) -> Iterator[str]:
    """What looks like a path of this project: begins with one of our folders and has no place-holder."""
    folders = "|".join((*CODE, "docs", "templates", "static", "locale-src", "locale"))
    for word in re.findall(r"`([^`\s]+)`", page.read_text("utf-8")):
        path = word.split("#")[0].split(":")[0].rstrip("…")
        if re.match(rf"({folders})/", path) and not re.search(r"[<>{}*$…]", path):
            yield path


@pytest.mark.parametrize("document", PAGES, ids=name_of)
def test_every_path_a_page_names_exists(document: Path) -> None:
    missing = [path for path in paths_named(document) if not (ROOT / path).exists()]
    assert missing == []


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                waiting.append((page.parent / target).resolve())
    assert set(PAGES) - seen == set()


# The API --------------------------------------------------------------------------------------


def test_every_part_of_the_api_is_documented() -> None:
    from drf_spectacular.generators import SchemaGenerator

    told = set(re.findall(r"^\| `[A-Z, ]+ (/api/v1/[a-z_/{}-]+)`", text("docs/api.md"), re.M))
    for path in SchemaGenerator().get_schema(request=None, public=True)["paths"]:
        assert any(path.startswith(one) for one in told), f"{path} is not in docs/api.md"


# The changelog --------------------------------------------------------------------------------


def test_the_changelog_has_an_open_head() -> None:
    heads = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.M)
    assert heads
    assert heads[0] == "Unreleased"


# Where things are -----------------------------------------------------------------------------

# Files whose place follows from their name, in every app.
EVERYWHERE = {
    "__init__",
    "apps",
    "urls",
    "api_urls",
    "shell_urls",
    "tasks",
    "schedule",
    "metrics",
    "wsgi",
    "test_settings",
    "models",
}
BY_SUBJECT = {"models", "queries", "views", "migrations", "management", "templatetags", "api"}


@pytest.mark.parametrize("app", ["audiences", "channels", "campaigns", "reports", "config"])
def test_every_subject_of_an_app_can_be_found(app: str) -> None:
    """A module, or its folder, is named in docs/finding-things.md."""
    told = set(paths_named(ROOT / "docs" / "finding-things.md"))
    missing = []
    for path in sorted((ROOT / app).rglob("*.py")):
        inside = path.relative_to(ROOT)
        if path.stem in EVERYWHERE or BY_SUBJECT & set(inside.parts[1:-1]):
            continue
        folders = {f"{parent}/" for parent in inside.parents if parent.name}
        if not ({str(inside)} | folders) & told and not (path.stem == "api" and app in inside.parts):
            missing.append(str(inside))
    assert missing == []


def test_every_documented_part_of_the_api_exists() -> None:
    from drf_spectacular.generators import SchemaGenerator

    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    for method, told in re.findall(r"^\| `([A-Z, ]+) (/api/v1/[a-z_/{}-]+)`", text("docs/api.md"), re.M):
        known = {
            name.upper() for path, operations in paths.items() if path.startswith(told) for name in operations
        }
        assert set(method.split(", ")) <= known, f"{method} {told} is in docs/api.md only"


def test_every_measurement_is_documented() -> None:
    from config import bench

    told = set(re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \|$", text("docs/operations.md"), re.M))
    assert {bench.named(name) for name in told} == set(bench.names())
