"""ICHHPINetWidget: connections, enabling, shortcuts. No computing: the logic's engine does, in another process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ichhpinet.errors import InputError

from . import rounds, roundtable
from .controls import WINDOWS
from .dependencies import check_slicer, engine_python, ensure_torch, torch_is_there
from .keys import Keys
from .logic import ICHHPINetLogic
from .looks import Looks
from .nodes import OTHERWISE, take_as_hounsfield
from .painting import BRUSHES, Painting
from .parameters import parameter_node
from .status import Status
from .volumes import is_tilted, load_sample, set_window, volume_in_view
from .worker import POLL_SECONDS, Worker

LOADING_SECONDS, LOOK_AGAIN_MS = 5.0, 50  # for a volume to get its display node, which Slicer's loading sets last


class ICHHPINetWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.ui: Any = None
        self._panel: Any = None
        self._farewell: Any = None
        self._parameters: Any = None
        self._gui: Any = None
        self._painting: Any = None
        self._status: Any = None
        self._timer: Any = None
        self._soon: Any = None
        self._again: Any = None
        self._loaded_by = 0.0
        self._keys = Keys()
        self._looks = Looks()

    # -- life --------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the panel; called by Slicer once."""
        self._farewell = qt.QObject(self.parent)  # children go in the order in which they came: this before the panel
        self._farewell.connect("destroyed()", self._destroyed)
        ScriptedLoadableModuleWidget.setup(self)
        self._panel = slicer.util.loadUI(self.resourcePath("UI/ICHHPINet.ui"))
        self.layout.addWidget(self._panel)
        self.ui = slicer.util.childWidgetVariables(self._panel)
        self._panel.setMRMLScene(slicer.mrmlScene)
        self.logic = ICHHPINetLogic(slicer.mrmlScene, Worker(python=engine_python()))
        self._timer = qt.QTimer()
        self._timer.setInterval(int(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.connect("timeout()", self._take_volume)
        self._again = qt.QTimer()
        self._again.setSingleShot(True)
        self._again.connect("timeout()", self._show_what_is_left)
        self._status = Status(self.ui.statusLabel)
        self._painting = Painting(self.ui, self.logic, self._take_stroke, self._on_moved)
        self._connect()
        with self._status.told(aloud=True):
            check_slicer()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartSaveEvent, self.onSceneStartSave)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndSaveEvent, self.onSceneEndSave)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        if self.parent.isEntered:  # reloaded while it is seen: nobody else calls enter
            self.enter()
        else:
            self._begin()

    def cleanup(self) -> None:
        """Leave nothing behind: observers, timer, shortcuts, the engine's process."""
        if self.logic is None:
            return
        self._panel.setMRMLScene(None)  # a reload only hides it
        self._let_go()

    def onReload(self) -> None:
        """Slicer's Reload reads the module's file anew, and would find the old modules behind it."""
        for name in [name for name in sys.modules if name.split(".")[0] == __package__]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _destroyed(self) -> None:
        """Slicer destroys a second widget of the module without a cleanup."""
        if self.logic is not None:
            self._let_go()

    def _let_go(self) -> None:
        self._timer.stop()
        self._soon.stop()
        self._again.stop()
        if self._keys.shortcuts:  # else they are another panel's
            self._keys.take_back()
        self._set_parameters(None)
        self.removeObservers()
        self._painting.close()
        self.logic.close()
        self._parameters = self.logic = None

    def enter(self) -> None:
        """The user comes to this module."""
        self._begin()
        self._keys.give(self.ui)
        if torch_is_there():
            self.logic.worker.warm_up()

    def exit(self) -> None:
        """The user goes to another module; the work stays."""
        self._keys.take_back()
        self._choose_brush(None)

    def onSceneStartClose(self, caller: Any = None, event: Any = None) -> None:
        """The logic drops its volumes by itself; nothing of the panel may hold on to the scene."""
        self._choose_brush(None)
        closed = self._parameters
        self._set_parameters(None)
        if closed is not None:  # its node outlives the scene, and the next volume may have the same ID
            closed.volume = closed.target = None
        self._painting.leave_the_scene()
        self._looks = Looks()

    def onSceneEndClose(self, caller: Any = None, event: Any = None) -> None:
        """A new scene: begin anew if the panel is seen."""
        if self.parent.isEntered:
            self._begin()

    def onSceneEndImport(self, caller: Any = None, event: Any = None) -> None:
        """A scene was read into this one, which takes the brush out of the Segment Editor's hand."""
        self._choose_brush(None)
        self._painting.take_up_again()
        self.onSceneEndClose()

    def onSceneStartSave(self, caller: Any = None, event: Any = None) -> None:
        """The views are saved with what they showed before: what is laid over them is not."""
        if self._volume() is not None:
            self._looks.lift(self._volume())

    def onSceneEndSave(self, caller: Any = None, event: Any = None) -> None:
        """And lies over them again, as far as it is known; nothing is asked for."""
        volume, p = self._volume(), self._parameters
        if volume is not None and not self._is_new(volume):
            self._looks.lay(volume, self._seen(), p.showChanges, p.showUncertainty)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller: Any, event: Any, node: Any) -> None:
        """A round that was removed by hand is seen no more, here neither."""
        if node.GetAttribute(rounds.ROUND) and not self._again.active:
            self._again.start(0)

    def _begin(self) -> None:
        self._painting.brush.own_settings()
        self._set_parameters(parameter_node())
        self._parameters.volume = self._preselected(self._parameters.volume)
        self._on_parameters()

    def _preselected(self, chosen: Any) -> Any:
        """The volume in view, unless one with work on it is chosen: a selector takes the first by itself."""
        if chosen is not None and (not self._is_new(chosen) or rounds.rounds_of(chosen)):
            return chosen
        return volume_in_view(chosen)

    def _set_parameters(self, parameters: Any) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._parameters = parameters
        if parameters is not None:
            self._gui = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)

    # -- making ------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        ui = self.ui
        for name, (level, width) in WINDOWS.items():
            getattr(ui, f"{name}Button").connect("clicked()", lambda lw=(level, width): set_window(self._volume(), *lw))
        for name, what in BRUSHES.items():
            getattr(ui, name).connect("clicked(bool)", lambda on, w=what: self._choose_brush(w if on else None))
        ui.sampleButton.connect("clicked()", self.onSample)
        ui.straightenButton.connect("clicked()", self.onStraighten)
        ui.proposeButton.connect("clicked()", self.onPropose)
        ui.refineButton.connect("clicked()", self.onRefine)
        ui.cancelButton.connect("clicked()", lambda: self.logic.cancel())
        ui.undoButton.connect("clicked()", lambda: self._walk(self.logic.undo))
        ui.redoButton.connect("clicked()", lambda: self._walk(self.logic.redo))
        ui.roundsTable.connect("cellClicked(int,int)", lambda row, _column: self._see(row))
        ui.roundsTable.connect("cellDoubleClicked(int,int)", lambda row, _column: self._continue_from(row))
        ui.nextUncertainButton.connect("clicked()", self.onNextUncertain)
        ui.copyButton.connect("clicked()", self.onCopy)
        ui.exportButton.connect("clicked()", self.onExport)
        for widget in (ui.progressBar, ui.cancelButton):  # they come and go: what is below must not jump
            policy = widget.sizePolicy
            policy.setRetainSizeWhenHidden(True)
            widget.setSizePolicy(policy)
        roundtable.prepare(ui.roundsTable)

    # -- painting ----------------------------------------------------------------------------------------------------

    def _choose_brush(self, what: str | None) -> None:
        self._painting.choose(what, self._volume())

    def _on_moved(self, volume: Any) -> None:
        """The volume came under another transform, and its work with it; one that bends it is refused."""
        accepted = self.logic.accepts(volume)
        if volume is not self._volume() or accepted == self.ui.foregroundButton.enabled:
            return
        bent = _("the volume is under a transform that bends it; painting would miss: straighten it first")
        self._choose_brush(None)
        self._status.say("" if accepted else bent)
        self._update()

    def _take_stroke(self, volume: Any) -> None:
        with self._status.told():
            if self.logic.strokes_changed(volume):
                self._update()
                self._refine_by_itself()

    def _refine_by_itself(self) -> None:
        """Where it is wished: a round from what is painted, unless one is under way. Nothing is asked or installed."""
        ready = self._parameters.autoRefine and not self.logic.busy and torch_is_there()
        if ready and self._painting.volume is self._volume() and self.logic.has_strokes(self._volume()):
            self.onRefine()

    # -- rounds ------------------------------------------------------------------------------------------------------

    def onRefine(self) -> None:
        """A round from the strokes."""
        self._ask(self.logic.refine)

    def onPropose(self) -> None:
        """A first round without strokes."""
        self._ask(self.logic.propose)

    def _ask(self, ask: Callable[..., None]) -> None:
        with self._status.told(aloud=True):
            ensure_torch()
            volume = self._volume()
            try:
                ask(volume, partial(self._done, volume), partial(self._failed, volume), self._progress)
            except InputError as error:
                if volume is not None and str(error) == _damage(volume):
                    self._failed(volume, "memory", str(error))
                elif self._is_overruled(error, volume):
                    self._ask(ask)
            else:
                self._working()

    def _is_overruled(self, doubt: InputError, volume: Any) -> bool:
        """Whether the user knows the volume's values to be HU, though they do not look so; any other doubt is raised.

        From a yes on they are HU.
        """
        if OTHERWISE not in str(doubt):
            raise doubt
        self._status.say(str(doubt))
        question = _("{sentence}.\n\nIf you know that its values are HU, it can be used as it is. Are they HU?")
        if not self._status.is_confirmed(question):
            return False
        take_as_hounsfield(volume)
        return True

    def _working(self) -> None:
        self.ui.progressBar.setRange(0, 0)
        self._timer.start()
        self._update()

    def _poll(self) -> None:
        with self._painting.own_step():
            busy = self.logic.poll()
        if not busy:
            self._timer.stop()
            self._update()

    def _progress(self, fraction: float, what: str) -> None:
        bar = self.ui.progressBar
        bar.setRange(0, 100)
        bar.setFormat(f"{what} %p %")  # before the value, which draws the window at once
        bar.setValue(int(100 * fraction))

    def _done(self, volume: Any, one: Any) -> None:
        """A round of this volume has landed: perhaps another one is seen by now."""
        if volume is not self._volume():
            self.logic.set_aside(volume)
            self._status.say(_("Round {number} of the volume before is there.").format(number=one.number))
            return
        sentence = _("Round {number}: {ml:.1f} ml in {s:.1f} s. {notes}")
        if one.volume_ml == 0 and one.parent is None:
            sentence = _(
                "Round {number}: no haemorrhage was found. That does not rule one out: paint a stroke on what you see. "
                "{notes}"
            )
        notes = " ".join(self.logic.notes(volume))
        self._status.say(sentence.format(number=one.number, ml=one.volume_ml, s=one.seconds, notes=notes))
        self._refine_by_itself()
        self._show_anew()

    def _failed(self, volume: Any, kind: str, sentence: str) -> None:
        here = volume is self._volume()
        said = sentence if here else _("The volume before: {sentence}").format(sentence=sentence)
        self._update()
        (self._status.say if kind in ("memory", "cancelled") else self._status.say_aloud)(said)
        if kind == "memory":
            self._offer_to_start_anew(volume)

    def _offer_to_start_anew(self, volume: Any) -> None:
        """The way on where the rounds in the scene cannot be continued, by a newer version's weights for one."""
        question = _(
            "{sentence}.\n\nStart anew? The rounds of this volume and their masks are removed; strokes that were not "
            "submitted stay."
        )
        if self._status.is_confirmed(question):
            with self._status.told(aloud=True), self._painting.own_step():
                self.logic.start_anew(volume)
                self._status.say("")
                self._show_anew()

    def _walk(self, step: Any) -> None:
        with self._status.told():
            with self._painting.own_step():
                step(self._volume())
            self._status.say("")  # of a round that may be undone now
            self._show_anew()

    def _see(self, row: int) -> None:
        volume = self._volume()
        number = self.logic.table(volume)[row].number
        if number != rounds.shown_round(volume):
            self.logic.show(volume, number)
            self._show_anew(select_current=False)

    def _continue_from(self, row: int) -> None:
        with self._status.told():
            volume = self._volume()
            number = self.logic.table(volume)[row].number
            with self._painting.own_step():
                self.logic.return_to(volume, number)
            self._status.say(_("The next round continues from round {number}.").format(number=number))
            self._show_anew()

    def onNextUncertain(self) -> None:
        """Jump to the most uncertain slice, then to the next most."""
        with self._status.told(aloud=True):
            one = self._seen()
            if one is None:
                raise InputError(_("there is no round yet; refine or propose first"))
            if self._looks.known(one):
                self._jump()
            else:
                ensure_torch()
                self._look(one, self._jump)

    def _look(self, one: Any, then: Callable[[], None]) -> None:
        """Ask for the uncertainty of the round that is seen."""
        volume = self._volume()

        def looked(uncertainty: Any) -> None:
            if volume is self._volume() and one == self._seen():
                self._looks.take(one, uncertainty)
                then()
            self._refine_by_itself()
            self._lay_over()  # of the round that is seen by now

        def refused(kind: str, sentence: str) -> None:
            if volume is self._volume():
                self._looks.take(one, None)
            self._failed(volume, kind, sentence)

        try:
            self.logic.look(volume, one.number, looked, refused)
        except InputError:
            self._looks.take(one, None)
            raise
        self._working()

    def _jump(self) -> None:
        if not self._looks.jump(self._volume()):
            self._status.say(_("No slice is uncertain."))

    # -- finish ------------------------------------------------------------------------------------------------------

    def onCopy(self) -> None:
        """The haemorrhage of the round that is seen (the current one where none is) into the chosen segmentation."""
        with self._status.told(aloud=True):
            one, target = self._seen() or self.logic.current(self._volume()), self._parameters.target
            if one is None or target is None:
                raise InputError(_("there is no round or no segmentation chosen; both are needed to copy"))
            rounds.copy_into(one, self._volume(), target, _("Haemorrhage"))
            self._status.say(_("Round {number} copied.").format(number=one.number))

    def onExport(self) -> None:
        """The haemorrhage of the round that is seen into a file; of the current one where none is."""
        one = self._seen() or self.logic.current(self._volume())
        filters = "Segmentation (*.seg.nrrd);;NIfTI (*.nii.gz)"
        path = qt.QFileDialog.getSaveFileName(self.parent, _("Export mask"), "haemorrhage.seg.nrrd", filters)
        if path and one is not None:
            with self._status.told(aloud=True):
                try:
                    self.logic.export(self._volume(), one.number, path)
                except OSError as error:
                    sentence = _("the file cannot be written ({why}); choose another place")
                    raise InputError(sentence.format(why=error.strerror)) from error
                self._status.say(_("Round {number} exported.").format(number=one.number))

    def onSample(self) -> None:
        """The bundled head CT."""
        with self._status.told(), slicer.util.WaitCursor():
            self._parameters.volume = load_sample()

    def onStraighten(self) -> None:
        """A copy of a tilted volume on a straight grid, chosen in its place."""
        with self._status.told(aloud=True), slicer.util.WaitCursor():
            volume = self._volume()
            try:
                self._parameters.volume = self.logic.straighten(volume)
            except InputError as error:
                if self._is_overruled(error, volume):
                    self._parameters.volume = self.logic.straighten(volume)

    # -- showing -----------------------------------------------------------------------------------------------------

    def _volume(self) -> Any:
        return self._parameters.volume if self._parameters is not None else None

    def _on_parameters(self, caller: Any = None, event: Any = None) -> None:
        if self._volume() is None and self._painting.has_begun:  # it was deleted
            self._choose_brush(None)
            self._set_last_aside()
        if self._is_new(self._volume()):  # perhaps in the middle of its loading: not before that is done
            self._loaded_by = time.monotonic() + LOADING_SECONDS
            self._soon.start(0)
        else:
            self._lay_over()
            self._update()

    def _is_new(self, volume: Any) -> bool:
        return volume is not None and volume is not self._painting.volume

    def _take_volume(self) -> None:
        """Show the volume that was chosen, in the brain window if it has no work yet, ready to be painted on."""
        volume = self._volume()
        if not self.parent.isEntered or not self._is_new(volume):  # not entered: the views are another module's
            return
        loading = volume.GetImageData() is not None and volume.GetDisplayNode() is None
        if loading and time.monotonic() < self._loaded_by:
            self._soon.start(LOOK_AGAIN_MS)
            return
        with self._status.told():
            self._choose_brush(None)
            self._set_last_aside()
            begun = self.logic.has_work(volume)
            self.logic.strokes_node(volume)  # refused where nothing can be painted, before anything is shown
            self.logic.take_up(volume)
            slicer.util.setSliceViewerLayers(background=volume)
            if not begun:
                set_window(volume, *WINDOWS["brain"])
            self._painting.take_up(volume)
            self._lay_over()
            self._status.say("")
        self._update()

    def _set_last_aside(self) -> None:
        """The volume before, if there is one still, and what was laid over it."""
        last = self._painting.volume
        if last is not None and last.GetScene() is not None:
            self.logic.set_aside(last)
            self._looks.lay(last, None, changes=False, uncertainty=False)
        self._looks = Looks()
        self._painting.take_up(None)

    def _seen(self) -> Any:
        """The round that is seen; None where none is."""
        volume = self._volume()
        return None if volume is None else rounds.rounds_of(volume).get(rounds.shown_round(volume) or 0)

    def _show_anew(self, select_current: bool = True) -> None:
        """Another round is seen: what was laid over the last one is not its own."""
        self._lay_over()
        if select_current:
            self._update()

    def _show_what_is_left(self) -> None:
        """A round was removed: another one may be current by now, which is made so first."""
        if self.logic.accepts(self._volume()):
            self.logic.current(self._volume())
        self._show_anew()

    def _lay_over(self) -> None:
        """Changes, uncertainty, used strokes and 3D, as they are switched."""
        volume = self._volume()
        if volume is None:
            return
        one, p = self._seen(), self._parameters
        unknown = one is not None and not (self._looks.known(one) or self._looks.refused(one))
        if p.showUncertainty and unknown and not self.logic.busy and torch_is_there():
            with self._status.told():
                self._look(one, lambda: None)
        self._looks.lay(volume, one, p.showChanges, p.showUncertainty)
        if one is not None:
            rounds.show_fill(one, not (p.showUncertainty and self._looks.known(one)))
            rounds.show_strokes(one, p.showUsedStrokes)
            rounds.show_3d(one, p.show3D)

    def _update(self) -> None:
        ui, volume = self.ui, self._volume()
        new = self._is_new(volume)  # no work is begun on what is not taken up yet
        busy, there = self.logic.busy, not new and self.logic.accepts(volume)
        current = self.logic.current(volume) if there else None
        for name in BRUSHES:
            getattr(ui, name).setEnabled(there)
        ui.sampleButton.setVisible(volume is None)
        ui.straightenButton.setVisible(not there and is_tilted(volume))
        ui.refineButton.setEnabled(there and not busy)
        ui.proposeButton.setEnabled(there and not busy and current is None)
        ui.undoButton.setEnabled(there and not busy and self.logic.can_undo(volume))
        ui.redoButton.setEnabled(there and not busy and self.logic.can_redo(volume))
        for name in ("nextUncertainButton", "copyButton", "exportButton"):
            getattr(ui, name).setEnabled(current is not None and not busy)
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)
        roundtable.fill(ui.roundsTable, self.logic.table(volume) if there else [])


def _damage(volume: Any) -> str:
    """Why the memory in the scene cannot be read; "" where it can, or there is none."""
    try:
        rounds.kept_memory(volume)
    except InputError as error:
        return str(error)
    return ""
