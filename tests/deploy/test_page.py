"""The page in a real browser: what a person sees, with pictures, mistakes and hostile labels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import toy_multi

from fastrec.deploy import recorder, trial

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
ARGUMENTS += " --disable-component-update --disable-sync"
DROP = """([selector, bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
  const target = document.querySelector(selector);
  target.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""
PASTE = """(bytes) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' }));
  document.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, clipboardData: transfer }));
}"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install .[e2e]")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(package_folder, tmp_path_factory):
    with trial.running(package_folder, recorder.file_url(tmp_path_factory.mktemp("log") / "log.db")) as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Serve a model whose pictures may have several labels."""
    from fastrec.deploy import package
    from fastrec.train import learner

    home = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        run = toy_multi.build(n=90)
        learner.save(run, toy_multi.fit(run, toy_multi.RECIPE), "fastnet", "train")
        folder = package.build(run, "03_train/fastnet")
    with trial.running(folder, recorder.file_url(home / "log.db")) as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.fixture
def page(browser, address):
    yield from opened(browser, address)


@pytest.fixture
def page_of_several(browser, several):
    yield from opened(browser, several)


def opened(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if "Content Security" in message.text else None)
    page.on(
        "request",
        lambda sent: page.faults.append(sent.url) if not sent.url.startswith((address, "blob:", "data:")) else None,
    )
    page.on("dialog", lambda dialog: page.faults.append(dialog.message))
    page.goto(address)
    yield page
    assert page.faults == []
    context.close()


@pytest.fixture
def picture(photo, encode):
    return encode(photo(40, 30))


def choose(page, data, name="bee <b>.png"):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})


def answered(page):
    page.wait_for_selector("#result:not([hidden])")
    return page.inner_text("#verdict")


def test_chosen_picture_is_answered_in_words_and_bars(page, picture, classes):
    choose(page, picture)
    assert answered(page) in classes
    assert page.inner_text("#certainty").startswith("The model is ")
    assert page.locator("#bars li").count() == 4
    shown = page.locator("#bars .name span:first-child").all_inner_texts()
    assert sorted(shown) == sorted(classes)
    assert page.evaluate("document.activeElement.id") == "verdict"
    assert page.evaluate("document.getElementById('preview').naturalWidth") == 40


def test_labels_of_ill_will_stay_text(page, picture):
    choose(page, picture)
    answered(page)
    assert page.locator("#bars img").count() == 0
    assert page.locator("#label option").all_inner_texts()[2] == "<img src=x onerror=alert(1)>"


def test_dropped_and_pasted_pictures_are_answered(page, picture):
    page.evaluate(DROP, ["#drop", list(picture), "dropped.png"])
    answered(page)
    assert "dropped.png" in page.get_attribute("#preview", "alt")
    page.evaluate(PASTE, list(picture))
    page.wait_for_selector("#preview[alt*='image.png']", state="attached")
    answered(page)


def test_feedback_is_kept_and_thanked_for(page, picture, classes):
    choose(page, picture)
    answered(page)
    assert page.is_disabled("#wrong")
    page.select_option("#label", classes[1])
    page.click("#wrong")
    page.wait_for_selector("#feedback", state="hidden")
    assert page.inner_text("#thanks") == f"Thank you: kept as “{classes[1]}”."
    choose(page, picture)
    page.wait_for_selector("#feedback", state="visible")
    page.click("#right")
    page.wait_for_selector("#feedback", state="hidden")


def squares(encode, *channels):
    pixels = np.full((20, 20, 3), 30, np.uint8)
    for k in channels:
        pixels[2 + 5 * k : 10 + 5 * k, 2 + 5 * k : 10 + 5 * k, k] = 170
    return encode(pixels)


def test_several_labels_are_shown_one_by_one_and_corrected(page_of_several, encode):
    page, names = page_of_several, toy_multi.CLASSES
    page.wait_for_selector("#choices:not([hidden])", state="attached")
    choose(page, squares(encode, 0, 2))
    answered(page)
    told = page.locator("#verdict .chip").all_inner_texts()
    assert told == [names[0], names[2]]
    assert "as a whole" in page.inner_text("#certainty")
    assert page.locator("#bars li.named").count() == 2
    assert page.locator("#choices label").all_inner_texts() == names
    assert page.locator("#choices img, #bars img").count() == 0
    assert page.is_hidden("#label")
    assert page.is_disabled("#wrong")
    page.check(f"#choices input >> nth={names.index(names[1])}")
    page.click("#wrong")
    page.wait_for_selector("#feedback", state="hidden")
    assert page.inner_text("#thanks") == f"Thank you: kept as “{', '.join(names)}”."
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_no_label_at_all_is_said_and_can_be_confirmed(page_of_several, encode):
    page = page_of_several
    choose(page, squares(encode))
    assert answered(page) == "None of these classes"
    page.click("#right")
    page.wait_for_selector("#feedback", state="hidden")
    assert page.inner_text("#thanks") == "Thank you: kept as “none of these classes”."


def test_refused_picture_is_a_sentence(page, picture):
    choose(page, picture[:90], "half <i>.png")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "half <i>.png is cut short: get the whole file again."
    assert page.is_hidden("#result")
    choose(page, picture)
    answered(page)
    assert page.is_hidden("#error")


def test_keyboard_reaches_the_chooser_and_every_control_has_a_name(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    for selector in ("#file", "#camera", "#label", "#token"):
        assert page.evaluate(f"document.querySelector('{selector}').labels.length") == 1
    assert page.get_attribute("html", "lang") == "en"
    assert page.get_attribute("#status", "aria-live") == "polite"


def test_nothing_is_wider_than_a_phone(page, picture):
    choose(page, picture, "n" * 300 + ".png")
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_token_is_asked_for_and_used(browser, package_folder, picture):
    command = [sys.executable, "-I", str(package_folder / "predict.py"), "--serve", "--port", "0"]
    environment = os.environ | {"FASTREC_TOKEN": "secret"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            page = browser.new_page()
            page.goto(process.stdout.readline().split()[-1])
            choose(page, picture)
            page.wait_for_selector("#token-form:not([hidden])")
            page.fill("#token", "secret")
            page.keyboard.press("Enter")
            answered(page)
            page.close()
        finally:
            process.terminate()


def test_stopped_service_is_a_sentence(browser, package_folder, picture):
    with trial.running(package_folder) as service:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{service.port}")
        page.wait_for_selector("#model:not(:empty)", state="attached")
    choose(page, picture)
    page.wait_for_selector("#error:not([hidden])")
    assert "does not answer" in page.inner_text("#error")
    page.close()
