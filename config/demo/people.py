"""People of our own making: a brand's customers, with identities and consents.

Everything follows from the seed. Addresses cannot reach anybody: mail goes to example.com, and the demo's
channels lead to the sandbox on this machine.
"""

import csv
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channels.sandbox.config import WeCom

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
)
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华慧建国红玉兰婷雪梅佳琪思雨子涵欣怡梓轩浩宇一诺晨曦嘉懿若溪书瑶"
PLACES: Sequence[tuple[str, str, float]] = (
    ("上海", "上海", 0.2),
    ("浙江", "杭州", 0.14),
    ("江苏", "南京", 0.12),
    ("江苏", "苏州", 0.08),
    ("北京", "北京", 0.14),
    ("广东", "广州", 0.11),
    ("广东", "深圳", 0.09),
    ("四川", "成都", 0.08),
    ("新疆", "乌鲁木齐", 0.04),
)
PRODUCTS: Sequence[tuple[str, str, str, float]] = (
    ("TEA-01", "龙井 50g", "茶", 168.0),
    ("TEA-02", "乌龙 100g", "茶", 98.0),
    ("TEA-03", "茉莉花茶 100g", "茶", 58.0),
    ("CUP-01", "旅行杯", "茶具", 129.0),
    ("POT-01", "紫砂壶", "茶具", 480.0),
    ("GIFT-01", "中秋礼盒", "礼盒", 298.0),
    ("SNK-01", "核桃酥", "点心", 36.0),
    ("SNK-02", "绿豆糕", "点心", 32.0),
)
CORP = WeCom().corp_id  # an external id is one of a corp: the sandbox's
EMPLOYEES: Sequence[tuple[str, str, str]] = (
    ("lin.yue", "林悦", "南京西路店"),
    ("chen.hao", "陈浩", "湖滨店"),
    ("zhou.min", "周敏", "新街口店"),
    ("wu.jing", "吴静", "天河店"),
)


@dataclass(frozen=True, slots=True)
class People:
    """``n`` people as parallel arrays; row numbers are the person keys."""

    rows: list[dict[str, str]]  # columns of the import kind "customers"
    employee: npt.NDArray[np.int64]  # index into EMPLOYEES

    def __len__(self) -> int:
        return len(self.rows)


def make_people(n: int, seed: int, today: dt.date) -> People:
    """``n`` customers. Not everybody has every identity, nor permits every medium."""
    random = np.random.default_rng(seed)
    place = random.choice(len(PLACES), n, p=[share for *_names, share in PLACES])
    surname, first, second = (random.integers(0, len(pool), n) for pool in (SURNAMES, GIVEN, GIVEN))
    has = {
        name: random.random(n) < share for name, share in (("phone", 0.92), ("email", 0.68), ("wecom", 0.55))
    }
    # Who has no address at all is still a customer with a member number.
    permits = {
        name: random.random(n) < share for name, share in (("sms", 0.8), ("email", 0.85), ("wecom", 0.9))
    }
    upload = random.random(n) < 0.6
    birth = random.integers(0, 45 * 365, n)
    gender = random.choice(3, n, p=[0.52, 0.43, 0.05])
    rows = []
    for i in range(n):
        province, city, _share = PLACES[place[i]]
        consents = {
            "consent_sms": "yes" if has["phone"][i] and permits["sms"][i] else "",
            "consent_email": "yes" if has["email"][i] and permits["email"][i] else "",
            "consent_wecom": "yes" if has["wecom"][i] and permits["wecom"][i] else "",
            "consent_social": "yes" if has["phone"][i] and upload[i] else "",
            "consent_upload": "yes" if has["phone"][i] and upload[i] else "",
        }
        rows.append(
            {
                "member_number": f"M{i + 1:06d}",
                "name": SURNAMES[surname[i]] + GIVEN[first[i]] + (GIVEN[second[i]] if i % 3 else ""),
                "gender": ("female", "male", "")[gender[i]],
                "birth_date": (dt.date(today.year - 62, 1, 1) + dt.timedelta(days=int(birth[i]))).isoformat(),
                "phone": f"1390{i + 1:07d}" if has["phone"][i] else "",
                "email": f"m{i + 1:06d}@example.com" if has["email"][i] else "",
                "wecom_external_id": f"wmDEMO{i + 1:08d}" if has["wecom"][i] else "",
                "wecom_corp": CORP if has["wecom"][i] else "",
                "province": province,
                "city": city,
                "zone": "Asia/Urumqi" if province == "新疆" else "Asia/Shanghai",
                **consents,
            }
        )
    return People(rows, random.integers(0, len(EMPLOYEES), n))


def lines_of(amount: float, random: np.random.Generator) -> list[tuple[str, int, float]]:
    """(SKU, quantity, amount) of an order that costs ``amount``: one to three products, the last takes the rest."""
    chosen = random.choice(len(PRODUCTS), random.integers(1, 4), replace=False)
    shares = random.dirichlet(np.full(len(chosen), 3.0))
    amounts = [round(float(share * amount), 2) for share in shares]
    amounts[-1] = round(amount - sum(amounts[:-1]), 2)
    return [
        (PRODUCTS[index][0], max(1, round(part / PRODUCTS[index][3])), part)
        for index, part in zip(chosen, amounts, strict=True)
    ]


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write rows with their header; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
