"""Who follows a link: a person, or a machine that looks before the person does."""

import re
from collections.abc import Mapping

# Mail scanners, link previews and crawlers that say who they are.
_SAYS_SO = re.compile(
    r"bot\b|crawl|spider|slurp|preview|scanner|proofpoint|mimecast|barracuda|trendmicro|symantec|safelinks|urldefense"
    r"|fortinet|checkpoint|ironport|messagelabs|googleimageproxy|yahoomailproxy|facebookexternalhit|whatsapp"
    r"|telegrambot|slackbot|twitterbot|linkedinbot|discordbot|skypeuripreview|bingpreview|headlesschrome|phantomjs"
    r"|curl/|wget/|python-requests|python-urllib|python-httpx|aiohttp|go-http-client|java/|okhttp|libwww-perl"
    r"|apache-httpclient|axios/|node-fetch",
    re.IGNORECASE,
)
# Image proxies fetch on the person's behalf when the message is opened.
_PROXY_FOR_PERSON = re.compile(r"googleimageproxy|yahoomailproxy", re.IGNORECASE)


def is_machine(method: str, headers: Mapping[str, str], *, pixel: bool = False) -> bool:
    """Whether no person can be assumed behind a request. ``headers`` by lower-case names."""
    if method == "HEAD":
        return True
    purpose = " ".join(
        headers.get(name, "") for name in ("purpose", "sec-purpose", "x-purpose", "x-moz")
    ).lower()
    if "prefetch" in purpose or "preview" in purpose or "prerender" in purpose:
        return True
    agent = headers.get("user-agent", "").strip()
    if pixel and _PROXY_FOR_PERSON.search(agent):
        return False
    if pixel and agent == "Mozilla/5.0":  # Apple's mail privacy fetches every picture, opened or not
        return True
    return not agent or bool(_SAYS_SO.search(agent))
