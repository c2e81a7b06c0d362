import re

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from fastrec import artefacts as a
from fastrec.files import FastrecError, write_text
from fastrec.report.facts import gather, top_confusions
from fastrec.report.pages import render_compare, render_index, render_run, render_stage
from fastrec.run import Run


@pytest.fixture(autouse=True)
def notebooks(home):
    """Records name the parameters of the notebooks in the home: give it some."""
    from tiny_notebooks import write_notebook

    parameters = 'run_name: str = "digits"\nseed: int = 0\nsource: str = "digits"'
    for stage in a.STAGES:
        write_notebook(home / "notebooks", stage, parameters=parameters)


def text_of(path):
    return " ".join(BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").text.split())


def test_an_index_answers_what_was_asked(make_run):
    index = render_run(make_run())
    told = text_of(index)
    assert "which of 3 classes does a picture show: cat, dog, owl?" in told
    assert "Learnt from 12 pictures of digits (36 collected)." in told
    assert "The package serves" not in told
    assert "In 100 new pictures, about 93.0 are named rightly" in told
    assert "95 % interval 92.0 to 94.0; measured on 12 pictures" in told
    assert "always the most frequent class" in told
    assert "cat was taken for dog: 1 of 4 pictures" in told
    assert "3.2 ms" in told
    assert "not_an_image" in told
    assert "near copy (1)" in told
    assert "differ from those it was tested on" in told
    assert "torch" in told
    assert index.parent.name == "x"


def test_every_stage_has_a_page_and_all_are_linked(make_run):
    index = render_run(make_run())
    pages = {path.name for path in index.parent.glob("*.html")}
    assert pages == {"index.html", *(f"{a.stage_folder(stage)}.html" for stage in a.STAGES)}
    for page in pages:
        soup = BeautifulSoup((index.parent / page).read_text(encoding="utf-8"), "html.parser")
        assert {link["href"] for link in soup.nav.find_all("a")} == pages
        assert len(soup.nav.find_all("a", attrs={"aria-current": "page"})) == 1


@pytest.mark.parametrize("until", a.STAGES)
def test_a_run_is_shown_from_whatever_it_has(make_run, until):
    told = text_of(render_run(make_run(until=until)))
    assert ("No answer yet" in told) is (a.STAGES.index(until) < a.STAGES.index("evaluate"))
    assert "never ran" in told or until == "monitor"


def test_a_run_that_has_not_begun_has_an_index_too(home):
    assert "No answer yet" in text_of(render_index(Run("new")))


def test_before_the_split_the_index_claims_no_learning(make_run):
    told = text_of(render_run(make_run(until="collect")))
    assert "Collected: 36 pictures of digits." in told
    assert "Learnt" not in told


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ("real", "differ from those it was tested on"),
        ("self-test", "No visitors yet: only the deploy stage's own test pictures went through the service."),
        ("none", "No visitors yet: no picture went through the service."),
    ],
)
def test_only_real_traffic_says_something_of_pictures_in_use(make_run, traffic, said):
    run = make_run()
    run.path(a.DRIFT).write_text(run.read(a.DRIFT).model_copy(update={"traffic": traffic}).model_dump_json())
    index = render_index(run)
    told = text_of(index)
    assert said in told
    assert ("pictures in use" in told) is ("that came in" in told) is (traffic == "real")
    checks = (
        BeautifulSoup(index.read_text(encoding="utf-8"), "html.parser").find("summary", string="Every check").parent
    )
    assert "score cat" in checks.text
    assert checks.has_attr("open") is (traffic == "real")


@pytest.mark.parametrize(("label", "warns"), [("04_tune/best", True), ("03_train/fastnet", False)])
def test_an_index_says_when_another_bundle_is_served(make_run, label, warns):
    run = make_run()
    folder = run.path(a.PACKAGE)
    folder.mkdir()
    (folder / "model.json").write_text(f'{{"label": "{label}"}}')
    told = "The package serves 04_tune/best; the figures on this page are of 03_train/fastnet."
    assert (told in text_of(render_index(run))) is warns


def test_a_damaged_package_is_named_and_the_rest_is_shown(make_run):
    run = make_run()
    run.path(a.PACKAGE).mkdir()
    for content in ("{", "[]", "{}"):
        (run.path(a.PACKAGE) / "model.json").write_text(content)
        told = text_of(render_index(run))
        assert "06_deploy/package/model.json is damaged" in told
        assert "What is in the data" in told


def test_mistakes_are_shown_with_their_pictures(make_run):
    facts = gather(make_run())
    assert [(mistake.label, mistake.predicted) for mistake in facts.mistakes] == [
        ("cat", "dog"),
        ("dog", "owl"),
        ("owl", "cat"),
    ]
    soup = BeautifulSoup(render_index(Run("x")).read_text(encoding="utf-8"), "html.parser")
    images = soup.find(class_="mistakes").find_all("img")
    assert [image["src"].startswith("data:image/png;base64,") for image in images] == [True] * 3


def test_confusions_are_the_most_frequent_ones(make_run):
    metrics = make_run().read(a.METRICS)
    metrics = metrics.model_copy(update={"confusion": [[5, 0, 3], [1, 9, 0], [0, 7, 20]]})
    assert [(pair.label, pair.predicted, pair.count, pair.of) for pair in top_confusions(metrics, most=2)] == [
        ("owl", "dog", 7, 27),
        ("cat", "owl", 3, 8),
    ]


def test_a_damaged_artefact_is_named_and_the_rest_is_shown(make_run, home):
    run = make_run()
    run.path(a.METRICS).write_text("{")
    told = text_of(render_index(run))
    assert "05_evaluate/metrics.json is damaged" in told
    assert "What is in the data" in told
    assert str(home) not in told


def test_a_stage_whose_input_was_made_anew_is_out_of_date(make_run):
    run = make_run(until="preprocess")
    run.start("collect", {"run_name": "x"})
    run.write(a.MANIFEST, run.read(a.MANIFEST).iloc[:9])
    run.finish()
    assert [fact.outdated for fact in gather(run).stages][:3] == [False, True, False]


def test_a_failure_is_told_on_index_and_page(make_run):
    run = make_run(until="train")
    record = run.record("train").model_copy(update={"state": "failed", "error": "train failed in cell 3: disk full."})
    write_text(run.path(a.stage_record("train")), record.model_dump_json())
    index = render_run(run)
    for page in (index, index.with_name("03_train.html")):
        assert "train failed in cell 3: disk full." in text_of(page)
        assert "failed" in text_of(page)


def test_a_page_shows_parameters_outputs_and_folded_code(make_run):
    page = render_stage(make_run(until="collect"), "collect")
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in soup.find("table", class_="parameters")("tr")]
    assert rows == [["run_name", "'x'"], ["rate", "0.2"]]
    assert len(soup.find_all("details", class_="code")) == 2
    assert all(not fold.has_attr("open") for fold in soup.find_all("details", class_="code"))
    assert soup.find("pre", class_="printed").text == "done cat\n"
    assert all(printed.text.strip() for printed in soup.find_all("pre", class_="printed"))
    assert soup.find("img", class_="figure")["alt"] == "Look at it. Next"
    assert soup.find("a", string="Next")["href"] == "02_preprocess.html"
    assert "VBox" not in soup.text
    assert all(box.text.strip() for box in soup.find_all("div", class_="wide"))
    assert soup.find("button", attrs={"data-code": True})


@pytest.mark.parametrize("sides", [("train", "train"), ("train", "test")])
def test_the_first_page_warns_of_leaks(make_run, sides):
    run = make_run(until="preprocess")
    table = run.read(a.SPLITS)
    one, other = (
        table.loc[table["split"] == side, "image_id"].iloc[place] for place, side in zip((0, -1), sides, strict=True)
    )
    pair = {"issue": "near_copy", "image_id": one, "other_id": other, "value": 1.0, "message": "alike."}
    run.write(a.QUALITY, pd.DataFrame([pair]))
    assert ("1 leak between the sides of the split" in text_of(render_run(run))) == (sides[0] != sides[1])


def test_pages_hold_all_they_need(make_run):
    for path in render_run(make_run()).parent.glob("*.html"):
        html = path.read_text(encoding="utf-8")
        soup = BeautifulSoup(html, "html.parser")
        assert not soup.find_all(["link", "iframe", "object"])
        assert all(not script.has_attr("src") for script in soup.find_all("script"))
        assert all(image["src"].startswith("data:image/") for image in soup.find_all("img"))
        assert not re.search(r"url\(\s*['\"]?http", html)
        assert soup.find("meta", attrs={"name": "viewport"})
        policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_a_page_names_its_inputs_without_home_or_password(make_run, home):
    run = make_run(until="collect")
    inputs = {f"log:sqlite:///{home}/runs/x.db": "1", "log:postgresql://reader:secret@host/log": "2"}
    record = run.record("collect").model_copy(update={"inputs": inputs})
    write_text(run.path(a.stage_record("collect")), record.model_dump_json())
    told = text_of(render_stage(run, "collect"))
    assert "log:sqlite:///runs/x.db" in told
    assert "secret" not in told


def test_a_missing_or_damaged_notebook_names_the_cure(make_run):
    run = make_run(until="collect")
    with pytest.raises(FastrecError, match=r"02_preprocess\.ipynb is missing: .*--from preprocess --to preprocess"):
        render_stage(run, "preprocess")
    (run.folder / "01_collect" / "01_collect.ipynb").write_text("{")
    with pytest.raises(FastrecError, match=r"01_collect\.ipynb is damaged"):
        render_stage(run, "collect")


def test_an_image_that_is_none_does_not_break_the_page(make_run):
    run = make_run(until="collect")
    path = run.folder / "01_collect" / "01_collect.ipynb"
    content = nbformat.read(path, 4)
    content.cells[-1].outputs[3].data["image/png"] = '"><script>bad()</script>'
    nbformat.write(content, path)
    soup = BeautifulSoup(render_stage(run, "collect").read_text(encoding="utf-8"), "html.parser")
    assert "bad()" not in str(soup.find_all("script"))


# ---------------------------------------------------------------- several runs side by side


def test_runs_are_compared_with_intervals_and_what_differs(make_run):
    page = render_compare([make_run("one"), make_run("two", accuracy=0.91, seed=5)])
    assert page.name == "one-vs-two.html"
    told = text_of(page)
    assert "0.930 (0.920 to 0.940)" in told
    assert "0.910 (0.900 to 0.920)" in told
    rows = [row.get_text(" ") for row in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")("tr")]
    assert "train.seed 0 5" in rows
    assert "not comparable" not in told
    best = [element.text for element in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")("strong")]
    assert "0.930 (0.920 to 0.940)" in best


def test_other_test_pictures_are_no_comparison(make_run):
    page = render_compare([make_run("one"), make_run("two", classes=("cat", "dog", "elk"), accuracy=0.5)])
    assert "their figures are not comparable" in text_of(page)
    table = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find("table")
    assert not table("strong")


def test_a_run_without_figures_is_said_to_have_none(make_run):
    page = render_compare([make_run("one"), make_run("two", until="train")])
    assert "two has no figures yet" in text_of(page)


def test_long_names_make_a_usable_file_name(make_run):
    page = render_compare([make_run("a" * 100, until="collect"), make_run("b" * 100, until="collect")])
    assert page.is_file()


def test_a_comparison_needs_two_runs_that_have_begun(make_run):
    with pytest.raises(FastrecError, match="two different runs"):
        render_compare([make_run("one", until="collect"), Run("one")])
    with pytest.raises(FastrecError, match="run 'new' has not begun"):
        render_compare([Run("one"), Run("new")])
