import pytest

from shop import cart


def test_the_subtotal_is_the_sum_of_the_prices():
    assert cart.subtotal(["tea", "mug", "tea"]) == 450 + 1_250 + 450


@pytest.mark.parametrize("items", [[], ["gold"], ["tea"] * (cart.ITEMS_MAX + 1)])
def test_a_cart_that_cannot_be_sold_is_refused(items):
    with pytest.raises(cart.CartError):
        cart.subtotal(items)


def test_a_full_cart_can_be_sold():
    assert cart.subtotal(["tea"] * cart.ITEMS_MAX) == cart.ITEMS_MAX * 450


def test_an_unknown_item_is_named():
    with pytest.raises(cart.CartError, match="gold, silver"):
        cart.subtotal(["tea", "gold", "silver"])


@pytest.mark.parametrize(
    ("amount", "coupon", "expected"),
    [(1_000, None, 0), (1_000, "WELCOME10", 100), (1_001, "WELCOME10", 101), (1_000, "FRIEND25", 250)],
)
def test_a_discount_is_rounded_in_the_customers_favour(amount, coupon, expected):
    assert cart.discount(amount, coupon) == expected


def test_an_unknown_coupon_is_refused():
    with pytest.raises(cart.CartError, match="BLACKFRIDAY"):
        cart.discount(1_000, "BLACKFRIDAY")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0, cart.SHIPPING), (cart.FREE_SHIPPING_FROM - 1, cart.SHIPPING), (cart.FREE_SHIPPING_FROM, 0)],
)
def test_shipping_is_free_from_a_price_on(amount, expected):
    assert cart.shipping(amount) == expected


def test_a_discount_can_cost_the_free_shipping():
    items = ["teapot", "mug"]
    assert cart.total(items) == 5_150
    assert cart.total(items, "WELCOME10") == 5_150 - 515 + cart.SHIPPING


@pytest.mark.parametrize("coupon", [None, *cart.COUPONS])
@pytest.mark.parametrize("item", cart.CATALOGUE)
def test_nobody_is_paid_for_shopping(item, coupon):
    assert cart.total([item], coupon) > 0
