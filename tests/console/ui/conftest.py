"""Faster Textual tests: exact idleness, known style sheets and styles, frames on request."""

import asyncio
import operator

import pytest
import textual.app
import textual.pilot
from textual._compositor import Compositor
from textual._context import active_app, visible_screen_stack
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

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


# Textual matches each widget with every rule again whenever its style may have changed. The result
# depends on the style sheet, and on what selectors can see of the widget and its ancestors.
_apply = Stylesheet.apply
_style_components = Stylesheet._process_component_classes
_replace = Stylesheet.replace_rules
_UNCACHED = Stylesheet._EXCLUDE_PSEUDO_CLASSES_FROM_CACHE
_FLAGS = operator.attrgetter(
    "_has_hover_style", "_has_focus_within", "_has_order_style", "_has_odd_or_even"
)
_sheets, _known, _components = {}, {}, {}


def _sheet_key(sheet):
    """Return a number of the rules of *sheet*, and the pseudo-classes that they name.

    :func:`_parse_once` keeps the rules, so that each has its own identity.
    """
    rules = sheet.rules
    known = getattr(sheet, "_known", None)
    if known is None or known[0] is not rules:
        names = sorted(set().union(*(rule.pseudo_classes for rule in rules)) - _UNCACHED)
        number = _sheets.setdefault(tuple(map(id, rules)), len(_sheets))
        known = sheet._known = rules, number, names
    return known[1:]


def _path_key(sheet, node):
    """Return everything on which the style of *node* depends."""
    number, names = _sheet_key(sheet)
    key = [number]
    while isinstance(node, DOMNode):
        pseudo = node._PSEUDO_CLASSES
        active = tuple(name for name in names if name in pseudo and pseudo[name](node))
        key += (type(node), node._id, frozenset(node._classes), active)
        node = node._parent
    return tuple(key)


def _apply_known(sheet, node, *, animate=False, cache=None):
    key = _path_key(sheet, node)
    if (known := _known.get(key)) is None:
        cache = {}
        _apply(sheet, node, animate=animate, cache=cache)
        for rules in cache.values():  # none if the style depends on the order of widgets
            _known[key] = rules, _FLAGS(node)
        return
    rules, flags = known
    (
        node._has_hover_style,
        node._has_focus_within,
        node._has_order_style,
        node._has_odd_or_even,
    ) = flags
    sheet.replace_rules(node, rules, animate=animate)
    if node._get_component_classes():
        _style_known_components(sheet, node, key)


def _style_known_components(sheet, node, key):
    if (known := _components.get(key)) is None:
        _style_components(sheet, node)
        found = node._component_styles.items()
        if not any(any(_FLAGS(styles.node)[1:]) for _, styles in found):
            _components[key] = {name: dict(styles.base._rules) for name, styles in found}
        return
    if known != {name: styles.base._rules for name, styles in node._component_styles.items()}:
        node._component_styles.clear()
        for name, rules in known.items():
            component = DOMNode(classes=name)
            component._attach(node)
            component.styles.base._rules.update(rules)
            node._component_styles[name] = component.styles
        node.refresh()


def _replace_changed(node, rules, animate=False):
    if animate or node.styles.base._rules != rules:
        _replace(node, rules, animate)


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
        patch.setattr(Stylesheet, "_parse_rules", _parse_once)
        patch.setattr(Stylesheet, "apply", _apply_known)
        patch.setattr(Stylesheet, "replace_rules", staticmethod(_replace_changed))
        patch.setattr(Compositor, "render_update", _render_when_asked)
        yield


@pytest.fixture
def painted(monkeypatch):
    """Paint every frame, as on a terminal."""
    monkeypatch.setattr(Compositor, "render_update", _render)
