import pytest
from matplotlib.figure import Figure

from fastrec.evaluate import errors, predict, widgets

MARKS = ("JPY_SESSION_NAME", "VSCODE_PID")


@pytest.fixture
def predicted(run):
    return predict.predictions(run, "03_train/fastnet")


@pytest.fixture(autouse=True)
def unattended(monkeypatch):
    for mark in MARKS:
        monkeypatch.delenv(mark, raising=False)


def parts(widget):
    """Return a widget and all widgets inside it."""
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in parts(child))]


def by(widget, **traits):
    return next(w for w in parts(widget) if all(getattr(w, name, None) == value for name, value in traits.items()))


def test_without_a_reader_browsing_leaves_a_figure_of_the_mistakes(run, predicted):
    figure = widgets.browse(run, predicted, most=5)
    assert isinstance(figure, Figure)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert len(titles) == min(5, len(errors.mistakes(predicted)))
    figure.canvas.draw()  # a label such as $5 and $6 must not be read as mathematics


def test_a_grid_of_no_mistakes_is_still_a_figure(run, predicted):
    right = predicted[predicted["label"] == predicted["predicted"]]
    assert isinstance(widgets.browse(run, right), Figure)


@pytest.mark.parametrize("mark", MARKS)
def test_with_a_reader_there_are_filters_and_a_slider(run, predicted, monkeypatch, mark):
    monkeypatch.setenv(mark, "notebook")
    browser = widgets.browse(run, predicted)
    wrong = errors.mistakes(predicted)
    slider, label = by(browser, description="mistake"), by(browser, description="label")
    note, picture = by(browser, _view_name="HTMLView"), by(browser, format="png")
    assert slider.max == len(wrong) - 1
    assert "<img" not in note.value
    first = picture.value
    assert bytes(first).startswith(b"\x89PNG")
    slider.value = slider.max
    assert picture.value != first
    label.value = wrong["label"].iloc[0]
    assert slider.max == (wrong["label"] == wrong["label"].iloc[0]).sum() - 1
    by(browser, description="predicted").value = wrong["predicted"].iloc[0]
    assert f"(1 of {slider.max + 1})" in note.value or f"of {slider.max + 1})" in note.value


def test_a_filter_that_leaves_nothing_says_so(run, predicted, monkeypatch):
    monkeypatch.setenv(MARKS[0], "notebook")
    wrong = errors.mistakes(predicted)
    browser = widgets._browser(run, wrong.iloc[:1].assign(label="a", predicted="b"))
    label = by(browser, description="label")
    label.options = [*label.options, "c"]
    label.value = "c"
    assert by(browser, _view_name="HTMLView").value == "No mistake of this kind."


def test_titles_keep_the_score_however_long_the_names(run, predicted):
    shown = predicted.iloc[:2].assign(label="a very long name of a class", predicted="a still longer one", score=0.977)
    assert widgets.grid(run, shown).axes[0].get_title() == "a ver…→a sti… 0.98"


def test_pictures_are_the_cached_ones_in_the_tables_order(run, predicted):
    shown = widgets.pictures(run, predicted.iloc[[3, 1]])
    assert [picture.shape for picture in shown] == [(16, 16, 3)] * 2
    assert (shown[1] == widgets.pictures(run, predicted)[1]).all()
