"""The images of the notebooks: labelled axes, right numbers, and matplotlib only when it is asked for."""

import subprocess
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="the notebooks extra is not installed")
matplotlib.use("Agg")

from npresnet.teaching import plots  # noqa: E402


@pytest.fixture(autouse=True)
def close():
    yield
    plots.pyplot().close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_matplotlib_is_imported_when_a_plot_is_drawn():
    code = "import sys, npresnet.teaching.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    plots.pyplot.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="notebooks"):
        plots.pyplot()
    plots.pyplot.cache_clear()


def test_a_matrix_has_its_numbers_in_place_and_labelled_axes():
    ax = plots.matrix(np.array([[1.0, 2.5], [3.0, 4.0]]), title="A", x="j", y="i")
    assert [(t.get_text(), t.get_position()) for t in ax.texts] == [
        ("1", (0, 0)),
        ("2.5", (1, 0)),
        ("3", (0, 1)),
        ("4", (1, 1)),
    ]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("A", "j", "i")
    assert not texts(plots.matrix(np.zeros((30, 30))))
    np.testing.assert_array_equal(ax.images[0].get_array(), [[1, 2.5], [3, 4]])


def test_curves_take_values_or_pairs():
    ax = plots.curves({"a": [3, 1, 2], "b": ([10, 20], [5, 6]), "c": (1.0, 2.0)}, x="step", y="loss", logy=True)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn == {"a": [[0, 3], [1, 1], [2, 2]], "b": [[10, 5], [20, 6]], "c": [[0, 1], [1, 2]]}
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("step", "loss", "log")
    assert plots.curves({"a": [1, 2]}, abscissa=[7, 8], x="", y="").lines[0].get_xdata().tolist() == [7, 8]


def test_bars_stand_in_the_order_given():
    ax = plots.bars({"first": 2.0, "second": 1.0}, x="ms")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"] and ax.yaxis_inverted()
    assert [bar.get_width() for bar in ax.patches] == [2.0, 1.0]


def test_a_logarithmic_axis_has_dots_where_bars_would_begin_nowhere():
    ax = plots.bars({"large": 2.0, "none": 0.0, "small": 1e-7}, log=True, x="change")
    assert ax.get_xscale() == "log" and not ax.patches
    assert ax.lines[0].get_xydata().tolist() == [[2.0, 0], [0.0, 1], [1e-7, 2]]
    assert texts(ax) == ["0"] and ax.texts[0].get_position()[1] == 1


def test_a_network_looks_the_same_in_every_figure():
    ax = plots.curves({name: [1, 2] for name in ("plain20", "resnet20", "resnet56", "preresnet110", "loss")})
    red, blue, deeper, light, other = ax.lines
    assert (red.get_color(), red.get_linestyle()) == (plots.RED, ":")
    assert blue.get_color() == deeper.get_color() == plots.BLUE and light.get_color() == plots.LIGHT_BLUE
    assert [line.get_linestyle() for line in (blue, deeper, light)] == [":", "--", "-"]
    assert other.get_color() == plots.CYCLE[0] and not {plots.RED, plots.BLUE} & set(plots.CYCLE)
    assert plots.look("resnetish") == plots.look("a plain20") == {}


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (3, 5, 7)])
def test_images_of_every_layout_are_shown_whole(shape):
    array = np.random.default_rng(0).standard_normal(shape)
    grid = plots.image_grid([array] * 3, ["a", "b", "c"], columns=2)
    assert grid.shape == (2, 2) and [ax.get_title() for ax in grid.flat] == ["a", "b", "c", ""]
    shown = grid[0, 0].images[0].get_array()
    assert shown.shape[:2] == (5, 7) and not grid[1, 1].images
    if len(shape) == 3:
        assert (float(shown.min()), float(shown.max())) == (0, 1)


def test_filters_share_one_scale_with_grey_at_zero():
    weight = np.zeros((2, 3, 3, 3), np.float32)
    weight[0, 0, 0, 0], weight[1, 2, 1, 1] = 2, -1
    first, second = (ax.images[0].get_array() for ax in plots.filters(weight).flat)
    assert first[0, 0].tolist() == [1, 0.5, 0.5] and second[1, 1].tolist() == [0.5, 0.5, 0.25]


def test_confusion_names_both_axes():
    ax = plots.confusion(np.array([[5, 1], [0, 4]]), ("cat", "dog"))
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog"]
    assert texts(ax) == ["5", "1", "0", "4"] and ax.get_ylabel() == "true class"


def test_the_roof_bends_where_bandwidth_meets_peak():
    ax = plots.roofline({"conv": (8.0, 50.0)}, peak=100.0, bandwidth=20.0)
    reach, roof = ax.lines[0].get_xydata().T
    np.testing.assert_allclose(roof, np.minimum(100, 20 * reach))
    assert texts(ax) == ["conv"]
