"""Links in messages: sealed, stored once, filled per person; clicks by people and by machines."""

import re
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from audiences import consent, contact_state
from audiences.models import ContactState, Customer, Suppression
from channels import links
from channels.machines import is_machine
from channels.models import InboxEvent, Link
from channels.tokens import BadToken, Token, TokenKind, seal, unseal
from tests.channel_rows import make_brand, make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
PERSON = {
    "HTTP_USER_AGENT": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 MicroMessenger/8.0"
}
numbers = st.integers(min_value=0, max_value=2**53)


# Tokens ---------------------------------------------------------------------------------------


@given(st.builds(Token, st.sampled_from(TokenKind), numbers, numbers, numbers, numbers, numbers))
def test_a_token_reads_back_as_what_was_sealed(token: Token) -> None:
    kind = token.kind
    assert unseal(seal(token), kind) == token


@given(numbers, numbers, st.integers(min_value=0, max_value=400))
def test_a_changed_token_is_refused(touch: int, customer: int, where: int) -> None:
    text = seal(Token(TokenKind.LINK, 3, 5, 7, touch, customer))
    where %= len(text)
    for other in "AZaz09-_":
        changed = text[:where] + other + text[where + 1 :]
        if changed == text:
            continue
        try:
            assert unseal(changed, TokenKind.LINK) == unseal(
                text, TokenKind.LINK
            )  # spare bits of the last letter
            assert where == len(text) - 1
        except BadToken:
            pass


def test_a_token_of_one_kind_is_none_of_another() -> None:
    text = seal(Token(TokenKind.PIXEL, 1, 0, 2, 3, 4))
    with pytest.raises(BadToken):
        unseal(text, TokenKind.UNSUBSCRIBE)


@pytest.mark.parametrize("nonsense", ["", "a", "é" * 40, "A" * 40, "A" * 5000, "%00", "="])
def test_nonsense_is_no_token(nonsense: str) -> None:
    with pytest.raises(BadToken):
        unseal(nonsense, TokenKind.LINK)


def test_a_token_of_a_large_installation_fits_a_text_message() -> None:
    text = seal(Token(TokenKind.LINK, 12, 9_000, 400, 4_000_000, 1_000_000))
    assert len(text) <= 40
    assert len(seal(Token(TokenKind.LINK, 12, 90_000, 4_000, 40_000_000, 10_000_000))) <= 43


def test_tokens_tell_nothing_by_their_look() -> None:
    one, two = (seal(Token(TokenKind.LINK, 1, 1, 1, 1, customer)) for customer in (1, 2))
    same = sum(a == b for a, b in zip(one, two, strict=True))
    assert same < 8


def test_a_link_in_an_old_message_works_after_the_key_was_changed(settings: pytest.FixtureRequest) -> None:
    token = Token(TokenKind.LINK, 1, 2, 3, 4, 5)
    old, text = settings.SECRET_KEY, seal(token)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [old]
    assert unseal(text, TokenKind.LINK) == token
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(BadToken):
        unseal(text, TokenKind.LINK)


# Messages -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_links_are_stored_once_a_campaign_and_filled_per_person(django_assert_num_queries: object) -> None:
    channel = make_channel()
    text = "看这里https://a.example/x?b=1,再看 https://a.example/x?b=1 和http://c.example/。"
    html = '<p><a class="b" href="https://a.example/x?b=1&amp;c=2">A</a> <a href=\'#top\'>top</a></p></body>'
    prepared = links.prepare(7, channel.pk, text, html)
    assert sorted(Link.objects.values_list("url", flat=True)) == [
        "http://c.example/",
        "https://a.example/x?b=1",
        "https://a.example/x?b=1&c=2",
    ]
    links.prepare(7, channel.pk, text, html)
    assert Link.objects.count() == 3
    with django_assert_num_queries(0):  # type: ignore[operator]
        one = prepared.fill(prepared.text, prepared.html, touch_id=11, customer_id=21)
        two = prepared.fill(prepared.text, prepared.html, touch_id=12, customer_id=22)
    assert one != two
    tokens = re.findall(r"/l/([\w-]+)", one[0])
    assert len(tokens) == 3
    assert tokens[0] == tokens[1]
    first = unseal(tokens[0], TokenKind.LINK)
    assert (first.campaign_id, first.channel_id, first.touch_id, first.customer_id) == (7, channel.pk, 11, 21)
    assert Link.objects.get(pk=first.link_id).url == "https://a.example/x?b=1"
    assert one[0].startswith(f"看这里{settings.PUBLIC_URL}/l/")
    assert one[0].endswith("。")
    assert "a.example" not in one[1]
    assert "href='#top'" in one[1]
    assert re.search(r'<img src="[^"]+/o/[\w-]+\.gif" width="1" height="1" alt=""></body>$', one[1])


@pytest.mark.django_db
def test_a_link_with_a_field_in_it_is_left_alone() -> None:
    channel = make_channel()
    text = "https://a.example/?code={{attributes.code}}"
    prepared = links.prepare(1, channel.pk, text, f'<a href="{text}">x</a>', pixel=False)
    assert (prepared.text, prepared.link_ids) == (text, ())
    assert (
        prepared.fill(prepared.text, prepared.html, touch_id=1, customer_id=1)[1] == f'<a href="{text}">x</a>'
    )


@pytest.mark.django_db
def test_a_value_that_looks_like_a_link_is_not_tracked_and_a_stop_is_not_part_of_one() -> None:
    channel = make_channel()
    prepared = links.prepare(1, channel.pk, "Hello {{name}}, see https://a.example/b.", pixel=False)
    assert prepared.text.endswith("\x03.")
    rendered = prepared.text.replace("{{name}}", "https://evil.example/")
    text, _html = prepared.fill(rendered, "", touch_id=1, customer_id=1)
    assert "https://evil.example/" in text


# Following ------------------------------------------------------------------------------------


@pytest.fixture
def customer() -> Customer:
    return Customer.objects.create(name="林晓", language="zh-CN")


def click_address(channel_id: int, link: Link, touch: int = 11, customer: int = 21) -> str:
    url = links.link_url(link.pk, 7, channel_id, touch, customer)
    return url.removeprefix(settings.PUBLIC_URL)


@pytest.mark.django_db
def test_a_click_is_stored_and_redirected(client: Client) -> None:
    channel = make_channel()
    link = Link.objects.create(channel=channel, campaign_id=7, url="https://a.example/中?x=1#y")
    answer = client.get(click_address(channel.pk, link), **PERSON)
    assert (answer.status_code, answer["Location"]) == (302, "https://a.example/%E4%B8%AD?x=1#y")
    event = InboxEvent.objects.get()
    assert (event.response, event.campaign_id, event.touch_id, event.machine) == ("click", 7, 11, False)
    assert event.detail["customer_id"] == 21
    assert not answer.cookies


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("head", PERSON),
        ("get", {}),
        ("get", {"HTTP_USER_AGENT": "Mozilla/5.0 (compatible; Googlebot/2.1)"}),
        ("get", {"HTTP_USER_AGENT": "Mozilla/5.0 (Windows NT 10.0) Proofpoint URL Defense"}),
        ("get", PERSON | {"HTTP_SEC_PURPOSE": "prefetch;prerender"}),
        ("get", PERSON | {"HTTP_PURPOSE": "prefetch"}),
        ("get", PERSON | {"HTTP_X_MOZ": "prefetch"}),
    ],
)
def test_a_machine_is_redirected_too_but_told_apart(
    client: Client, method: str, headers: dict[str, str]
) -> None:
    channel = make_channel()
    link = Link.objects.create(channel=channel, campaign_id=7, url="https://a.example/")
    assert getattr(client, method)(click_address(channel.pk, link), **headers).status_code == 302
    assert InboxEvent.objects.get().machine


def test_an_image_proxy_opens_for_a_person_and_apples_prefetch_does_not() -> None:
    gmail = {
        "user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
    }
    assert not is_machine("GET", gmail, pixel=True)
    assert is_machine("GET", gmail)
    assert is_machine("GET", {"user-agent": "Mozilla/5.0"}, pixel=True)


@pytest.mark.django_db
def test_a_double_click_is_one_click(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = make_channel()
    link = Link.objects.create(channel=channel, campaign_id=7, url="https://a.example/")
    monkeypatch.setattr("channels.views.public.timezone.now", lambda: NOW)
    for _ in range(2):
        client.get(click_address(channel.pk, link), **PERSON)
    assert InboxEvent.objects.count() == 1


@pytest.mark.django_db
def test_a_pixel_is_a_picture_and_an_opening(client: Client) -> None:
    channel = make_channel(medium="email")
    answer = client.get(links.pixel_url(7, channel.pk, 11, 21).removeprefix(settings.PUBLIC_URL), **PERSON)
    assert (answer.status_code, answer["Content-Type"], answer.content[:6]) == (200, "image/gif", b"GIF89a")
    assert "no-store" in answer["Cache-Control"]
    assert InboxEvent.objects.get().response == "open"
    assert client.get("/o/nonsense.gif").status_code == 200
    assert InboxEvent.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/l/nonsense", "/u/nonsense", "/p/nonsense"])
def test_a_cut_link_is_told_plainly(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "cut off" in answer.content.decode()


# Unsubscribe ----------------------------------------------------------------------------------


def permitted(customer: Customer, medium: str, brand: int | None = None) -> bool:
    return contact_state.permits(ContactState.objects.get(pk=customer.pk), brand or make_brand().pk, medium)


@pytest.mark.django_db
def test_one_click_by_a_mail_program_needs_no_cookie_and_no_log_in(customer: Customer) -> None:
    channel = make_channel(medium="email")
    consent.grant(customer.pk, channel.brand_id, "email", "form", NOW)
    consent.grant(customer.pk, channel.brand_id, "sms", "form", NOW)
    path = links.unsubscribe_urls(channel.pk, 7)(11, customer.pk).removeprefix(settings.PUBLIC_URL)
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(path, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, len(answer.cookies)) == (200, 0)
    assert (permitted(customer, "email"), permitted(customer, "sms")) == (False, True)
    event = InboxEvent.objects.get()
    assert (event.response, event.campaign_id, event.touch_id, event.detail["customer_id"]) == (
        "opt_out",
        7,
        11,
        customer.pk,
    )
    assert event.channel_id == channel.pk


@pytest.mark.django_db
def test_a_get_asks_in_the_persons_language_and_changes_nothing(customer: Customer) -> None:
    channel = make_channel(medium="email")
    consent.grant(customer.pk, channel.brand_id, "email", "form", NOW)
    path = links.unsubscribe_urls(channel.pk, None)(0, customer.pk).removeprefix(settings.PUBLIC_URL)
    for method in ("get", "head"):
        answer = getattr(Client(), method)(path)
        assert answer.status_code == 200
        assert permitted(customer, "email")
    page = Client().get(path).content.decode()
    assert 'lang="zh-hans"' in page
    assert 'name="confirm"' in page
    assert customer.name not in page
    assert not InboxEvent.objects.exists()


@pytest.mark.django_db
def test_the_button_on_the_page_unsubscribes_and_an_empty_post_does_not(customer: Customer) -> None:
    channel = make_channel(medium="email")
    consent.grant(customer.pk, channel.brand_id, "email", "form", NOW)
    path = links.unsubscribe_urls(channel.pk, None)(0, customer.pk).removeprefix(settings.PUBLIC_URL)
    assert Client().post(path).status_code == 400
    assert permitted(customer, "email")
    assert Client(enforce_csrf_checks=True).post(path, {"confirm": "yes"}).status_code == 200
    assert not permitted(customer, "email")


@pytest.mark.django_db
def test_an_opt_out_without_a_consent_survives_the_next_load(customer: Customer) -> None:
    customer.identities.create(kind="email", value="lin@example.com")
    channel = make_channel(medium="email")
    path = links.unsubscribe_urls(channel.pk, None)(0, customer.pk).removeprefix(settings.PUBLIC_URL)
    Client().post(path, {"confirm": "yes"})
    assert Suppression.objects.filter(medium="email").exists()
    assert not consent.grant(customer.pk, channel.brand_id, "email", "file", datetime.now(UTC))
    assert not permitted(customer, "email")


@pytest.mark.django_db
def test_in_the_preference_centre_a_person_turns_media_off_and_on_again(customer: Customer) -> None:
    other = make_brand("second")
    email, sms = make_channel(medium="email"), make_channel(medium="sms", brand=other)
    make_channel(medium="search")  # nobody is written to there
    consent.grant(customer.pk, email.brand_id, "email", "form", NOW)
    path = links.preference_url(customer.pk, email.pk, 7, 11).removeprefix(settings.PUBLIC_URL)
    page = Client().get(path).content.decode()
    keys = re.findall(r'name="shown" value="([^"]+)"', page)
    assert keys == [f"{email.brand_id}:email", f"{other.pk}:sms"]
    assert re.findall(r'value="([^"]+)" checked', page) == [f"{email.brand_id}:email"]

    Client().post(path, {"shown": keys, "on": [f"{other.pk}:sms"]})
    assert (permitted(customer, "email"), permitted(customer, "sms", other.pk)) == (False, True)
    event = InboxEvent.objects.get()
    assert (event.response, event.detail["withdrawn"]) == ("opt_out", [f"{email.brand_id}:email"])

    Client().post(path, {"shown": keys, "on": keys})
    assert (permitted(customer, "email"), permitted(customer, "sms", other.pk)) == (True, True)
    assert sms.brand_id == other.pk


@pytest.mark.django_db
def test_what_the_page_did_not_show_stays_as_it_was(customer: Customer) -> None:
    channel = make_channel(medium="email")
    consent.grant(customer.pk, channel.brand_id, "email", "form", NOW)
    path = links.preference_url(customer.pk, channel.pk).removeprefix(settings.PUBLIC_URL)
    Client().post(path, {"shown": [], "on": []})
    assert permitted(customer, "email")


# Links that many people get alike ------------------------------------------------------------


@pytest.mark.django_db
def test_a_shared_link_is_the_same_for_everybody_and_tells_campaign_message_and_employee(
    client: Client,
) -> None:
    from channels.models import ChannelCount

    channel = make_channel()
    prepared = links.prepare(
        7, channel.pk, "See https://shop.example/a?utm_source=wecom&gclid=1", pixel=False
    )
    text, _html = prepared.share(prepared.text, "", version_id=31, employee_id=5)
    assert text == prepared.share(prepared.text, "", version_id=31, employee_id=5)[0]
    assert text != prepared.share(prepared.text, "", version_id=31, employee_id=6)[0]
    path = text.removeprefix(f"See {settings.PUBLIC_URL}")
    token = unseal(path.removeprefix("/l/"), TokenKind.LINK, TokenKind.SHARED)
    assert (token.kind, token.campaign_id, token.version_id, token.employee_id) == (
        TokenKind.SHARED,
        7,
        31,
        5,
    )
    for _visit in range(3):
        assert client.get(path, **PERSON)["Location"] == "https://shop.example/a?utm_source=wecom&gclid=1"
    client.get(path, HTTP_USER_AGENT="Googlebot/2.1 bot")
    counted = dict(ChannelCount.objects.filter(channel=channel).values_list("name", "n"))
    assert counted == {"click:7:31:5": 3, "machine_click:7:31:5": 1}
    assert not InboxEvent.objects.exists(), "nobody in particular clicked"


def test_a_shared_link_is_no_link_of_a_person() -> None:
    with pytest.raises(BadToken):
        unseal(seal(Token(TokenKind.SHARED, 1, 2, 3, 4, 5)), TokenKind.LINK)
