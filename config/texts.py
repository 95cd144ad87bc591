"""Texts of the screens: found in the code (English), given their Chinese, compiled.

``locale-src/*.zh_Hans.json`` is what people write: ``{"Campaign": "活动", "%(n)s row|||%(n)s rows": "%(n)s 行"}``,
with ``context\\u0004`` in front where a text has a context. Everything below ``locale/`` is made from it by
GNU gettext and committed, so that an installation needs no gettext.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOCALE = "zh_Hans"
SOURCES = ("audiences", "campaigns", "channels", "config", "reports", "templates")
TOOLS = ("xgettext", "msgmerge", "msguniq", "msgattrib", "msgfmt")
PLURAL, CONTEXT = "|||", "\u0004"

HEADER = f"""msgid ""
msgstr ""
"Project-Id-Version: Evenreach\\n"
"Language: {LOCALE}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""


class TextError(Exception):
    """The texts cannot be put together; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Built:
    """``missing`` and ``unused`` are listings for people; empty when all is well."""

    po: str
    mo: bytes
    missing: str
    unused: tuple[str, ...]


def tools_missing() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def translations(folder: Path) -> dict[str, str]:
    """All Chinese texts by their key. Raises :class:`TextError` for bad JSON and for two different answers."""
    found: dict[str, str] = {}
    origin: dict[str, Path] = {}
    for path in sorted(folder.glob(f"*.{LOCALE}.json")):
        try:
            entries = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise TextError(f"{path.name} is no JSON: {error}") from None
        for key, text in entries.items():
            if not isinstance(text, str) or not text.strip():
                raise TextError(f"{path.name}: {key!r} has no text")
            if found.get(key, text) != text:
                raise TextError(
                    f"{key!r} is {found[key]!r} in {origin[key].name} and {text!r} in {path.name}: "
                    "one English text has one Chinese text; use a context where the meaning differs"
                )
            found[key], origin[key] = text, path
    return found


def compendium(texts: dict[str, str]) -> str:
    """The texts in the format of gettext."""
    parts = [HEADER]
    for key, text in texts.items():
        context, mark, rest = key.rpartition(CONTEXT)
        one, plural, many = rest.partition(PLURAL)
        if mark:
            parts.append(f"msgctxt {_quoted(context)}\n")
        parts.append(f"msgid {_quoted(one)}\n")
        if plural:
            parts.append(f"msgid_plural {_quoted(many)}\nmsgstr[0] {_quoted(_edged(text, one))}\n\n")
        else:
            parts.append(f"msgstr {_quoted(_edged(text, one))}\n\n")
    return "".join(parts)


def _quoted(text: str) -> str:
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )


def _edged(text: str, english: str) -> str:
    """Begins and ends with a line break where the English does, as gettext demands."""
    core = text.strip("\n")
    return ("\n" if english.startswith("\n") else "") + core + ("\n" if english.endswith("\n") else "")


def build(root: Path) -> Built:
    """Finds the texts below ``root`` and translates them. Writes nothing outside a folder of its own."""
    texts = translations(root / "locale-src")
    with tempfile.TemporaryDirectory(prefix="evenreach-texts-") as name:
        work = Path(name)
        for source in SOURCES:
            shutil.copytree(
                root / source,
                work / source,
                ignore=shutil.ignore_patterns("__pycache__", "migrations", "*.pyc"),
            )
        (work / "locale").mkdir()
        _run(
            [sys.executable, "-m", "django", "makemessages", "-l", LOCALE, "--keep-pot", "--no-wrap"]
            + ["--add-location", "file", "-v", "0"],
            work,
        )
        (work / "known.po").write_text(compendium(texts), "utf-8")
        (work / "empty.po").write_text(HEADER, "utf-8")
        _run(
            ["msgmerge", "--quiet", "--no-fuzzy-matching", "--no-wrap", "--compendium=known.po"]
            + ["--output-file=django.po", "empty.po", "locale/django.pot"],
            work,
        )
        po = re.sub(r'^"POT-Creation-Date: .*\n', "", (work / "django.po").read_text("utf-8"), flags=re.M)
        (work / "django.po").write_text(po, "utf-8")
        _run(["msgfmt", "--check", "--output-file=django.mo", "django.po"], work)
        # msgmerge marks what has lost or gained a placeholder; such a text would be left out in silence.
        if differing := _listing(_run(["msgattrib", "--only-fuzzy", "--no-wrap", "django.po"], work)):
            raise TextError(f"These have other placeholders than their English:\n{differing}")
        missing = _run(["msgattrib", "--untranslated", "--no-obsolete", "--no-wrap", "django.po"], work)
        used = (work / "locale/django.pot").read_text("utf-8")
        return Built(po, (work / "django.mo").read_bytes(), _listing(missing), _unused(texts, used))


def _run(command: list[str], folder: Path) -> str:
    import os

    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise TextError(f"{command[0]} {command[1]} failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _listing(po: str) -> str:
    """What msgattrib printed, without its header."""
    blocks = [block for block in po.strip().split("\n\n") if 'msgid ""\nmsgstr ""\n"Project' not in block]
    return "\n\n".join(block for block in blocks if block.strip())


def _unused(texts: dict[str, str], pot: str) -> tuple[str, ...]:
    """Keys of texts the code no longer has."""
    bare = {line[6:] for line in pot.splitlines() if line.startswith("msgid ")}
    long = "".join(line[1:-1] for line in pot.splitlines() if line.startswith('"'))
    return tuple(
        key
        for key in texts
        if _quoted(key.rpartition(CONTEXT)[2].partition(PLURAL)[0]) not in bare
        and _quoted(key.rpartition(CONTEXT)[2].partition(PLURAL)[0])[1:-1] not in long
    )


def write(root: Path, built: Built) -> None:
    """Puts the made files where Django reads them."""
    folder = root / "locale" / LOCALE / "LC_MESSAGES"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "django.po").write_text(built.po, "utf-8")
    (folder / "django.mo").write_bytes(built.mo)
