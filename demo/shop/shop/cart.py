"""Prices and coupons. Pure: no clock, no network. All amounts are cents."""

from collections.abc import Iterable

CATALOGUE = {"tea": 450, "coffee": 620, "mug": 1_250, "teapot": 3_900}

# Percent off, by coupon.
COUPONS = {"WELCOME10": 10, "FRIEND25": 25}

ITEMS_MAX = 50
FREE_SHIPPING_FROM = 5_000
SHIPPING = 490


class CartError(ValueError):
    """What a customer can correct."""


def subtotal(items: Iterable[str]) -> int:
    """The price of the items alone."""
    items = list(items)
    if not items:
        raise CartError("the cart is empty")
    if len(items) > ITEMS_MAX:
        raise CartError(f"a cart holds at most {ITEMS_MAX} items")
    unknown = [item for item in items if item not in CATALOGUE]
    if unknown:
        raise CartError(f"not in the catalogue: {', '.join(unknown)}")
    return sum(CATALOGUE[item] for item in items)


def discount(amount: int, coupon: str | None) -> int:
    """What a coupon takes off, rounded in the customer's favour."""
    if coupon is None:
        return 0
    if coupon not in COUPONS:
        raise CartError(f"no such coupon: {coupon}")
    return -(-amount * COUPONS[coupon] // 100)


def shipping(amount: int) -> int:
    """Shipping for goods of this price after discount."""
    return 0 if amount >= FREE_SHIPPING_FROM else SHIPPING


def total(items: Iterable[str], coupon: str | None = None) -> int:
    """What the customer pays."""
    goods = subtotal(items)
    goods -= discount(goods, coupon)
    return goods + shipping(goods)
