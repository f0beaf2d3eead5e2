"""Work done ahead in threads, and without them."""

import sys
import threading

import pytest

from npresnet.data.prefetch import prefetch


def test_results_come_in_order_from_several_threads():
    seen = set()

    def square(item):
        seen.add(threading.get_ident())
        return item * item

    assert list(prefetch(square, range(50), workers=3)) == [k * k for k in range(50)]
    assert threading.get_ident() not in seen


def test_in_a_browser_each_result_is_computed_when_it_is_wanted(monkeypatch):
    monkeypatch.setattr(sys, "platform", "emscripten")
    computed = []
    results = prefetch(lambda item: computed.append(item) or threading.get_ident(), range(3), workers=2)
    assert computed == [] and next(results) == threading.get_ident() and computed == [0]
    assert len(list(results)) == 2 and computed == [0, 1, 2]


def test_an_error_reaches_who_asks():
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda item: 1 // item, [1, 0], workers=2))
