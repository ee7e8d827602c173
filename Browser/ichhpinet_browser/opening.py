"""Opening: what is being read for the page, how far that is, and what the user is asked. Showing it is elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

from .offers import Offer, Read, delete, reader

logger = logging.getLogger(__name__)


class Opening:
    """One read at a time. Sets the page's `stage`, `loading` and `offer`."""

    def __init__(
        self,
        state: Any,
        say: Callable[[str, str], None],
        warm_up: Callable[[], None],
        show: Callable[[Any], None],
        is_case: Callable[[], bool],
    ) -> None:
        """say: (kind, sentence). warm_up: what a round will need, beside the reading. show: what was read; may raise.

        is_case: whether there is a case to go back to.
        """
        self._state, self._say, self._warm_up, self._show, self._is_case = state, say, warm_up, show, is_case
        self._reading: asyncio.Task[None] | None = None
        self._offered: Offer | None = None

    @property
    def is_reading(self) -> bool:
        """Something is being read, and will be shown."""
        return self._reading is not None and not self._reading.done()

    def open_path(self, path: Path, series: str | None = None, uploaded: Path | None = None) -> None:
        """Read a CT or an unpacked session, and show it. Returns at once.

        series: which of several in a folder. uploaded: deleted once it is read, or is not wanted.
        """
        self.open(reader(path, uploaded, {"series": series}))

    def choose(self, number: int) -> None:
        """Go one of the ways on offer, counted from 0. One that leads nowhere leaves the others on offer."""
        offer = self._offered
        if offer is not None and 0 <= number < len(offer.ways):
            self._offered = None
            try:
                self.open(reader(offer.path, offer.uploaded, offer.ways[number].how, keep=True), offer=offer)
            except BaseException:
                self._offered = offer
                raise

    def choose_none(self) -> None:
        """Back to what was there before."""
        if self._offered is not None:
            self._withdraw()
            self._say("", "")
            self._rest()
            self._state.flush()

    def cancel(self) -> None:
        """Back to what was there before; what is being read is not shown."""
        if self.is_reading:
            self.leave()
            self._rest()
            self._state.flush()

    def leave(self) -> None:
        """What is being read, or was on offer, is not wanted any more."""
        self._reading = None
        self._withdraw()

    def open(self, read: Read, then: Callable[[], None] | None = None, offer: Offer | None = None) -> None:
        """Read, show, then `then`. Returns at once. Raises: InputError while something else is read.

        offer: what this way was chosen from; it is there again where the way leads nowhere.
        """
        if self.is_reading:
            raise InputError("a CT is being read; wait for it")
        self._withdraw()
        self._say("", "")
        self._warm_up()
        self._state.update({"stage": "loading", "loading": {"what": "Reading the CT", "percent": 0}})
        self._state.flush()
        self._reading = asyncio.get_running_loop().create_task(self._read(read, then, offer))

    async def _read(self, read: Read, then: Callable[[], None] | None, offer: Offer | None) -> None:
        loop, mine = asyncio.get_running_loop(), asyncio.current_task()

        def progress(fraction: float, what: str) -> None:
            loop.call_soon_threadsafe(self._show_loading, mine, what, round(100 * fraction))

        try:
            found = await loop.run_in_executor(None, read, progress)
            if isinstance(found, Offer):
                self._offer(found, wanted=self._reading is mine)
                return
            if offer is not None:
                delete(offer.uploaded)
                offer = None  # whatever fails from here on, there is nothing left to choose from
            if self._reading is mine:
                self._show(found)
                if then is not None:
                    then()
        except InputError as error:
            self._refuse(str(error), offer, self._reading is mine)
        except Exception as error:  # a page must outlive whatever a file holds
            logger.error("opening failed: %s", type(error).__name__)
            self._refuse("the CT could not be opened; nothing else has changed", offer, self._reading is mine)

    def _show_loading(self, of: Any, what: str, percent: int) -> None:
        if self._state.stage == "loading" and self._reading is of:
            self._state.loading = {"what": what[:1].upper() + what[1:], "percent": percent}
            self._state.flush()

    def _offer(self, offer: Offer, wanted: bool = True) -> None:
        """Let the user choose. wanted: False where the page has been left since."""
        if not wanted:
            delete(offer.uploaded)
            return
        self._offered = offer
        told = {"question": offer.question, "lead": offer.lead, "none": offer.none}
        self._state.offer = told | {"ways": [way.words for way in offer.ways]}
        self._state.stage = "choose"
        self._state.flush()

    def _withdraw(self) -> None:
        """What was on offer is not wanted."""
        offer, self._offered = self._offered, None
        if offer is not None:
            delete(offer.uploaded)

    def _refuse(self, sentence: str, offer: Offer | None, wanted: bool) -> None:
        if offer is not None:
            self._offer(offer, wanted)
        elif wanted:
            self._rest()
        if wanted:
            self._say("error", sentence[:1].upper() + sentence[1:] + ".")

    def _rest(self) -> None:
        self._state.stage = "ready" if self._is_case() else "empty"
