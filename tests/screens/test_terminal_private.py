"""The private names of Textual that we touch are still what we think they are."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.scroll_view import ScrollView

from screens.base import ConsoleApp
from screens.terminal import private
from screens.terminal.driver import ConsoleDriver
from screens.widgets.bars import Bars
from screens.widgets.chart import Chart
from screens.widgets.journal_log import JournalLog
from screens.widgets.table import Table

#: What we override or call on purpose; anything else that collides is an accident.
OVERRIDDEN = {"_display", "_fatal_error", "_print_error_renderables"}
CALLED = {"_running", "_closed", "_batch_count", "_exception", "_exit_renderables", "_driver", "_loop"}


def test_the_version_is_the_one_all_this_was_tested_with() -> None:
    assert version("textual").startswith("8.2.")


def test_the_hooks_have_the_signatures_we_rely_on() -> None:
    assert list(inspect.signature(App._display).parameters) == ["self", "screen", "renderable"]
    assert list(inspect.signature(App._fatal_error).parameters) == ["self"]
    assert list(inspect.signature(App._print_error_renderables).parameters) == ["self"]
    assert callable(App._close_messages_no_wait)
    source = inspect.getsource(App) + inspect.getsource(App.__mro__[2]) + inspect.getsource(App.__mro__[1])
    for name in CALLED:
        assert name in source, name
    assert "self._fatal_error()" in inspect.getsource(App._handle_exception)


def test_pictures_come_as_strips() -> None:
    assert set(inspect.signature(private.LayoutUpdate).parameters) == {"strips", "region"}
    assert set(inspect.signature(private.ChopsUpdate).parameters) == {"chops", "spans", "chop_ends"}


def test_the_driver_still_calls_what_we_replace() -> None:
    source = inspect.getsource(LinuxDriver)
    for name in ("self.run_input_thread()", "self.exit_event", "self.write(", "self.fileno", "self._debug"):
        assert name in source + inspect.getsource(Driver), name
    assert issubclass(ConsoleDriver, LinuxDriver)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ConsoleApp, App),
        (ConsoleDriver, LinuxDriver),
        *((w, ScrollView) for w in (Table, JournalLog, Bars, Chart)),
    ],
)
def test_nothing_of_textual_is_overridden_by_accident(ours: type, theirs: type) -> None:
    mine = {n for k in ours.__mro__ if k.__module__.startswith("screens") for n in vars(k)}
    made_by_textual = set(vars(type("Probe", (theirs,), {})))
    private_names = {n for n in mine if n.startswith("_") and not n.startswith("__")} - made_by_textual
    assert {n for n in private_names if hasattr(theirs, n)} <= OVERRIDDEN
