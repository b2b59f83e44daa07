"""Faster Textual tests: exact idleness, no delays, style sheets parsed once, frames on request."""

import asyncio

import pytest
import textual.app
import textual.pilot
from textual._compositor import Compositor
from textual._context import active_app, visible_screen_stack
from textual.app import App
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

#: How often an application may ask to be painted again before somebody waits in vain for a rest.
_ROUNDS = 1000


async def _settle(*_limits):
    """Return when every message is handled and painted: only timers and I/O can change more.

    Textual's own looks in slices of 20 ms whether the process still uses the processor, which is
    slow on an idle machine and wrong on a busy one.
    """
    app = active_app.get()
    loop = asyncio.get_running_loop()
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
        while loop._ready:
            await asyncio.sleep(0)
        if not (app.is_running and app._screen_stack and app.screen.is_running):
            return
        if app._resize_event is not None:
            app._check_resize()
            continue
        # A dialog shows the screens below it, so these are painted first.
        waiting = [each for each in app._screen_stack if each._update_timer._active.is_set()]
        if not waiting:
            return
        waiting[0]._on_timer_update()
    raise AssertionError("the screen paints without end")


_parsed = {}
_parse = Stylesheet._parse_rules


def _parse_once(sheet, css, read_from, **how):
    key = (css, read_from, *how.items(), *sheet._variables.items())
    if key not in _parsed:
        _parsed[key] = _parse(sheet, css, read_from, **how)
    return _parsed[key]


_render = Compositor.render_update


def _render_when_asked(compositor, full=False, screen_stack=None, **how):
    """Paint nothing on a screen that no one sees: a test renders what it looks at."""
    if full:  # a picture
        return _render(compositor, full, screen_stack, **how)
    visible_screen_stack.set([] if screen_stack is None else screen_stack)
    compositor._dirty_regions.clear()
    return None


@pytest.fixture(autouse=True, scope="session")
def _quick_textual():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textual.app, "wait_for_idle", _settle)
        patch.setattr(textual.pilot, "wait_for_idle", _settle)
        patch.setattr(App, "delay_update", lambda *_: None)  # 50 ms with each change of the mode
        patch.setattr(RuleSet, "__hash__", object.__hash__)  # the same identity, but not in Python
        patch.setattr(Stylesheet, "_parse_rules", _parse_once)
        patch.setattr(Compositor, "render_update", _render_when_asked)
        yield


@pytest.fixture
def painted(monkeypatch):
    """Paint every frame, as on a terminal."""
    monkeypatch.setattr(Compositor, "render_update", _render)
