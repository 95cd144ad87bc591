"""Both languages: every text has its Chinese, and what is committed is what the sources give."""

import json
import re
from collections.abc import Iterator
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import settings
from django.forms import BaseForm, HiddenInput
from django.urls import get_resolver
from django.utils import translation
from django.utils.translation import gettext, ngettext

from channels.adapters import all_adapters
from config import texts

HAN = re.compile(r"[\u4e00-\u9fff]")
NAMES = frozenset(
    {"AccessKey ID", "SecretId", "SecretKey", "SdkAppId", "Account SID", "Auth Token", "HTML"}
)  # of vendors, the same in Chinese


def write(folder: Path, name: str, content: object) -> None:
    (folder / "locale-src").mkdir(exist_ok=True)
    (folder / "locale-src" / name).write_text(json.dumps(content), "utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A little project with three texts."""
    for source in texts.SOURCES:
        (tmp_path / source).mkdir()
    (tmp_path / "config" / "words.py").write_text(
        "from django.utils.translation import gettext as _, ngettext\n"
        'print(_("Campaign"), _("%(n)s left") % {"n": 1}, ngettext("%(n)s row", "%(n)s rows", 2))\n'
    )
    return tmp_path


@pytest.fixture(scope="module")
def built() -> texts.Built:
    return texts.build(settings.BASE_DIR)


def catalog(mo: bytes) -> dict[object, str]:
    """Texts of a compiled file without its header, which tells versions of tools."""
    found = GNUTranslations(BytesIO(mo))._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in found.items() if key}


@pytest.mark.needs_gettext
def test_every_text_of_the_product_has_its_chinese(built: texts.Built) -> None:
    assert built.missing == "", "texts without Chinese; add them to locale-src/<area>.zh_Hans.json"
    assert built.unused == (), "Chinese for texts that no longer exist"


@pytest.mark.needs_gettext
def test_the_committed_translations_are_those_of_the_sources(built: texts.Built) -> None:
    committed = settings.BASE_DIR / "locale" / texts.LOCALE / "LC_MESSAGES" / "django.mo"
    assert catalog(committed.read_bytes()) == catalog(built.mo), "run: make messages"


def test_the_compiled_translations_are_there_without_gettext() -> None:
    with translation.override("zh-hans"):
        assert gettext("Campaigns") == "活动"
        assert ngettext("%(n)s field", "%(n)s fields", 3) % {"n": 3} == "3 个字段"


def _forms(of: type[BaseForm]) -> Iterator[type[BaseForm]]:
    for form in of.__subclasses__():
        yield from _forms(form)
        if form.__module__.partition(".")[0] in texts.SOURCES:
            yield form


def test_every_label_of_a_form_is_chinese_on_chinese_screens() -> None:
    """A field without a label of its own shows its name in the code, which no catalogue knows."""
    get_resolver().url_patterns  # noqa: B018 - every view and its forms are imported
    checked, wrong = 0, []
    with translation.override("zh-hans"):
        for form in set(_forms(BaseForm)):
            for name, field in form.base_fields.items():  # type: ignore[attr-defined]
                checked += 1
                hidden = isinstance(field.widget, HiddenInput)
                if not hidden and not HAN.search(str(field.label or "")) and field.label not in NAMES:
                    wrong.append(f"{form.__module__}.{form.__name__}.{name}: {field.label}")
        for adapter in all_adapters().values():
            wrong += [
                f"{adapter.name}.{setting.name}: {setting.label}"
                for setting in adapter.settings
                if not HAN.search(str(setting.label)) and str(setting.label) not in NAMES
            ]
    assert checked > 100
    assert sorted(wrong) == []


@pytest.mark.needs_gettext
def test_a_missing_text_is_listed_with_its_file(small: Path) -> None:
    write(small, "a.zh_Hans.json", {"Campaign": "活动", "%(n)s row|||%(n)s rows": "%(n)s 行"})
    built = texts.build(small)
    assert "config/words.py" in built.missing
    assert 'msgid "%(n)s left"' in built.missing
    assert 'msgid "Campaign"' not in built.missing
    assert 'msgid "%(n)s row"' not in built.missing


@pytest.mark.needs_gettext
def test_a_translation_that_loses_a_placeholder_is_refused(small: Path) -> None:
    write(small, "a.zh_Hans.json", {"%(n)s left": "剩余"})
    with pytest.raises(texts.TextError, match=r"other placeholders than their English:(.|\n)*left"):
        texts.build(small)


@pytest.mark.needs_gettext
def test_a_translation_nobody_uses_is_told(small: Path) -> None:
    write(small, "a.zh_Hans.json", {"Campaign": "活动", "Gone": "没了"})
    assert texts.build(small).unused == ("Gone",)


def test_one_english_text_cannot_have_two_chinese_ones(small: Path) -> None:
    write(small, "a.zh_Hans.json", {"Campaign": "活动"})
    write(small, "b.zh_Hans.json", {"Campaign": "战役"})
    with pytest.raises(texts.TextError, match=r"a\.zh_Hans\.json and '战役' in b\.zh_Hans\.json"):
        texts.translations(small / "locale-src")


def test_bad_json_is_told_by_its_file(small: Path) -> None:
    (small / "locale-src").mkdir()
    (small / "locale-src" / "a.zh_Hans.json").write_text('{"Campaign": "活动",}')
    with pytest.raises(texts.TextError, match=r"a\.zh_Hans\.json is no JSON"):
        texts.translations(small / "locale-src")
