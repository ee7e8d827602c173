"""ITK's warnings: off while somebody reads or writes, and as they were afterwards."""

from __future__ import annotations

import pytest

from ichhpinet.itk import quiet, simpleitk


@pytest.mark.parametrize("shown", [True, False])
def test_of_two_who_want_it_quiet_the_last_to_leave_turns_it_on_again(shown: bool) -> None:
    switch = simpleitk().ProcessObject
    before = switch.GetGlobalWarningDisplay()
    switch.SetGlobalWarningDisplay(shown)
    try:
        first, second = quiet(), quiet()  # as two threads would: neither inside the other
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not switch.GetGlobalWarningDisplay()
        second.__exit__(None, None, None)
        assert switch.GetGlobalWarningDisplay() is shown
    finally:
        switch.SetGlobalWarningDisplay(before)
