"""ICHHPINetWidget: connections, enabling, shortcuts. No computing: the logic's engine does, in another process."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ichhpinet.errors import InputError

from . import overlays, rounds, roundtable
from .brush import ERASE, Brush
from .controls import WINDOWS
from .dependencies import check_slicer, engine_python, ensure_torch, torch_is_there
from .keys import Keys
from .logic import ICHHPINetLogic
from .nodes import BACKGROUND_ID, FOREGROUND_ID
from .parameters import parameter_node
from .volumes import load_sample, set_window, volume_in_view
from .worker import POLL_SECONDS, Worker

logger = logging.getLogger(__name__)

BRUSHES = {"foregroundButton": FOREGROUND_ID, "backgroundButton": BACKGROUND_ID, "eraseButton": ERASE}
LOADING_SECONDS, LOOK_AGAIN_MS = 5.0, 50  # for a volume to get its display node, which Slicer's loading sets last


class ICHHPINetWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.ui: Any = None
        self._panel: Any = None
        self._parameters: Any = None
        self._gui: Any = None
        self._brush: Any = None
        self._timer: Any = None
        self._soon: Any = None
        self._loaded_by = 0.0
        self._keys = Keys()
        self._uncertainty: Any = None
        self._next_uncertain = 0

    # -- life --------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the panel; called by Slicer once."""
        ScriptedLoadableModuleWidget.setup(self)
        self._panel = slicer.util.loadUI(self.resourcePath("UI/ICHHPINet.ui"))
        self.layout.addWidget(self._panel)
        self.ui = slicer.util.childWidgetVariables(self._panel)
        self._panel.setMRMLScene(slicer.mrmlScene)
        self._panel.connect("destroyed()", self._destroyed)
        self.logic = ICHHPINetLogic(slicer.mrmlScene, Worker(python=engine_python()))
        self._timer = qt.QTimer()
        self._timer.setInterval(int(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.connect("timeout()", self._take_volume)
        self._brush = Brush()
        self._connect()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        if self.parent.isEntered:  # reloaded while it is seen: nobody else calls enter
            self.enter()
        else:
            self._begin()

    def cleanup(self) -> None:
        """Leave nothing behind: observers, timer, shortcuts, the engine's process."""
        if self.logic is None:
            return
        self._keys.take_back()
        self._set_parameters(None)
        self._panel.setMRMLScene(None)  # a reload only hides it
        self._let_go()

    def _destroyed(self) -> None:
        """Slicer destroys a second widget of the module without a cleanup: its buttons are gone, its observers not."""
        if self.logic is None:
            return
        if self._keys.shortcuts:
            self._keys.take_back()
        if self._parameters is not None:  # disconnectGui would talk to the buttons
            for tag in self._parameters._guiVtkObserverTags.values():
                self._parameters.RemoveObserver(tag)
        self._let_go()

    def _let_go(self) -> None:
        self._timer.stop()
        self._soon.stop()
        self.removeObservers()
        self._brush.close()
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
        self._brush.leave_the_scene()

    def onSceneEndClose(self, caller: Any = None, event: Any = None) -> None:
        """A new scene, or one read into this: begin anew if the panel is seen."""
        if self.parent.isEntered:
            self._begin()

    def _begin(self) -> None:
        self._brush.own_settings()
        self._set_parameters(parameter_node())
        if self._parameters.volume is None:
            self._parameters.volume = volume_in_view()
        self._on_parameters()

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
        ui.brushSlider.connect("valueChanged(double)", self._brush.set_diameter)
        ui.sampleButton.connect("clicked()", self.onSample)
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
        """FOREGROUND_ID, BACKGROUND_ID, ERASE, or None: the mouse navigates."""
        for button, name in BRUSHES.items():
            getattr(self.ui, button).setChecked(name == what)
        volume = self._volume()
        if what is None or volume is None:
            self._brush.put_away()
            return
        strokes = self.logic.strokes_node(volume)
        self._watch(strokes)
        self._brush.paint_on(strokes, volume)
        self._brush.take(what, self.ui.brushSlider.value)

    def _watch(self, strokes: Any) -> None:
        segmentation, event = strokes.GetSegmentation(), slicer.vtkSegmentation.SourceRepresentationModified
        if not self.hasObserver(segmentation, event, self._on_stroke):
            self.addObserver(segmentation, event, self._on_stroke)

    def _watch_place(self, volume: Any) -> None:
        event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        if not self.hasObserver(volume, event, self._on_moved):
            self.addObserver(volume, event, self._on_moved)

    def _on_moved(self, caller: Any = None, event: Any = None) -> None:
        """The volume came under another transform: its work goes along."""
        if caller is self._volume():
            self.logic.accepts(caller)

    def _on_stroke(self, caller: Any = None, event: Any = None) -> None:
        volume = self._volume()
        if volume is None or not self.logic.strokes_changed(volume):
            return
        self._update()
        if self._parameters.autoRefine and not self.logic.busy:
            self.onRefine()

    # -- rounds ------------------------------------------------------------------------------------------------------

    def onRefine(self) -> None:
        """A round from the strokes."""
        with self._told(aloud=True):
            ensure_torch()
            self.logic.refine(self._volume(), self._done, self._failed, self._progress)
            self._working()

    def onPropose(self) -> None:
        """A first round without strokes."""
        with self._told(aloud=True):
            ensure_torch()
            self.logic.propose(self._volume(), self._done, self._failed, self._progress)
            self._working()

    def _working(self) -> None:
        self.ui.progressBar.setRange(0, 0)
        self._timer.start()
        self._update()

    def _poll(self) -> None:
        if not self.logic.poll():
            self._timer.stop()
            self._update()

    def _progress(self, fraction: float, what: str) -> None:
        self.ui.progressBar.setRange(0, 100)
        self.ui.progressBar.setValue(int(100 * fraction))
        self.ui.progressBar.setFormat(f"{what} %p %")

    def _done(self, one: Any) -> None:
        notes = " ".join(self.logic.notes(self._volume()))
        self._say(
            _("Round {number}: {ml:.1f} ml in {s:.1f} s. {notes}").format(
                number=one.number, ml=one.volume_ml, s=one.seconds, notes=notes
            )
        )
        self._show_anew()

    def _failed(self, kind: str, sentence: str) -> None:
        self._say(sentence)
        self._update()
        if kind != "cancelled":
            slicer.util.errorDisplay(self.ui.statusLabel.text)

    def _walk(self, step: Any) -> None:
        with self._told():
            step(self._volume())
            self._say("")  # of a round that may be undone now
            self._show_anew()

    def _see(self, row: int) -> None:
        volume = self._volume()
        number = self.logic.table(volume)[row].number
        if number != rounds.shown_round(volume):
            self.logic.show(volume, number)
            self._show_anew(select_current=False)

    def _continue_from(self, row: int) -> None:
        with self._told():
            volume = self._volume()
            number = self.logic.table(volume)[row].number
            self.logic.return_to(volume, number)
            self._say(_("The next round continues from round {number}.").format(number=number))
            self._show_anew()

    def onNextUncertain(self) -> None:
        """Jump to the most uncertain slice, then to the next most."""
        with self._told():
            if self._uncertainty is None:
                self._look(self._looked_to_jump)
            else:
                self._jump()

    def _look(self, looked: Any) -> None:
        """Ask for the uncertainty of the round that is seen."""
        volume = self._volume()
        number = rounds.shown_round(volume)
        if number is None:
            raise InputError("there is no round yet; refine or propose first")
        self.logic.look(volume, number, looked, self._failed)
        self._working()

    def _looked(self, uncertainty: Any) -> None:
        self._uncertainty, self._next_uncertain = uncertainty, 0
        self._lay_over()

    def _looked_to_jump(self, uncertainty: Any) -> None:
        self._looked(uncertainty)
        self._jump()

    def _jump(self) -> None:
        order = overlays.uncertain_slices(self._uncertainty)
        if not order:
            self._say(_("No slice is uncertain."))
            return
        index = order[self._next_uncertain % len(order)]
        self._next_uncertain += 1
        overlays.jump_to(slicer.mrmlScene, overlays.slice_centre_ras(self._volume(), self._uncertainty, index))

    # -- finish ------------------------------------------------------------------------------------------------------

    def onCopy(self) -> None:
        """The haemorrhage into the chosen segmentation."""
        with self._told(aloud=True):
            current, target = self.logic.current(self._volume()), self._parameters.target
            if current is None or target is None:
                raise InputError("there is no round or no segmentation chosen; both are needed to copy")
            rounds.copy_into(current, self._volume(), target, _("Haemorrhage"))
            self._say(_("Copied."))

    def onExport(self) -> None:
        """The haemorrhage into a file."""
        current = self.logic.current(self._volume())
        filters = "Segmentation (*.seg.nrrd);;NIfTI (*.nii.gz)"
        path = qt.QFileDialog.getSaveFileName(self.parent, _("Export mask"), "haemorrhage.seg.nrrd", filters)
        if path and current is not None:
            with self._told(aloud=True):
                try:
                    self.logic.export(self._volume(), current.number, path)
                except OSError as error:
                    raise InputError(f"the file cannot be written ({error.strerror}); choose another place") from error
                self._say(_("Exported."))

    def onSample(self) -> None:
        """The bundled head CT."""
        with self._told(), slicer.util.WaitCursor():
            self._parameters.volume = load_sample()

    # -- showing -----------------------------------------------------------------------------------------------------

    def _volume(self) -> Any:
        return self._parameters.volume if self._parameters is not None else None

    def _on_parameters(self, caller: Any = None, event: Any = None) -> None:
        if self._is_new(self._volume()):  # perhaps in the middle of its loading: not before that is done
            self._loaded_by = time.monotonic() + LOADING_SECONDS
            self._soon.start(0)
        else:
            self._lay_over()
            self._update()

    def _is_new(self, volume: Any) -> bool:
        return volume is not None and volume is not self._brush.volume

    def _take_volume(self) -> None:
        """Show the volume that was chosen, in the brain window if it has no work yet, ready to be painted on."""
        volume = self._volume()
        if not self._is_new(volume):
            return
        loading = volume.GetImageData() is not None and volume.GetDisplayNode() is None
        if loading and time.monotonic() < self._loaded_by:
            self._soon.start(LOOK_AGAIN_MS)
            return
        with self._told():
            strokes = self.logic.strokes_node(volume)
            last, self._uncertainty = self._brush.volume, None
            if last is not None and last.GetScene() is not None:
                self.logic.set_aside(last)
                overlays.show_changes(last, None)
                overlays.show_uncertainty(last, None)
            self.logic.take_up(volume)
            slicer.util.setSliceViewerLayers(background=volume)
            if not rounds.rounds_of(volume):
                set_window(volume, *WINDOWS["brain"])
            self._choose_brush(None)
            self._brush.paint_on(strokes, volume)
            self._watch(strokes)
            self._watch_place(volume)
            self._lay_over()
            self._say("")
        self._update()

    def _show_anew(self, select_current: bool = True) -> None:
        """Another round is seen: what was laid over the last one is not its own."""
        self._uncertainty = None
        self._lay_over()
        if select_current:
            self._update()

    def _lay_over(self) -> None:
        """Changes, uncertainty, used strokes and 3D, as they are switched."""
        volume = self._volume()
        if volume is None:
            return
        known, shown, p = rounds.rounds_of(volume), rounds.shown_round(volume), self._parameters
        one = known.get(shown or 0)
        overlays.show_changes(volume, one if p.showChanges else None)
        if p.showUncertainty and one is not None and self._uncertainty is None and not self.logic.busy:
            with self._told():
                self._look(self._looked)
        uncertainty = self._uncertainty if p.showUncertainty else None
        overlays.show_uncertainty(volume, uncertainty)
        if one is not None:
            rounds.show_fill(one, uncertainty is None)
            rounds.show_strokes(one, p.showUsedStrokes)
            rounds.show_3d(one, p.show3D)

    def _update(self) -> None:
        ui, volume = self.ui, self._volume()
        busy, there = self.logic.busy, self.logic.accepts(volume)
        current = self.logic.current(volume) if there else None
        for name in BRUSHES:
            getattr(ui, name).setEnabled(there)
        ui.sampleButton.setVisible(volume is None)
        ui.refineButton.setEnabled(there and not busy)
        ui.proposeButton.setEnabled(there and not busy and current is None)
        ui.undoButton.setEnabled(there and not busy and self.logic.can_undo(volume))
        ui.redoButton.setEnabled(there and not busy and self.logic.can_redo(volume))
        for name in ("nextUncertainButton", "copyButton", "exportButton"):
            getattr(ui, name).setEnabled(current is not None and not busy)
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)
        roundtable.fill(ui.roundsTable, self.logic.table(volume) if there else [])

    def _say(self, sentence: str) -> None:
        self.ui.statusLabel.setText(sentence[:1].upper() + sentence[1:])

    @contextlib.contextmanager
    def _told(self, aloud: bool = False) -> Iterator[None]:
        """What cannot be used is said in the panel, in its own sentence; aloud: in a dialog too."""
        try:
            check_slicer()
            yield
        except InputError as error:
            self._say(str(error))
            if aloud:
                slicer.util.errorDisplay(self.ui.statusLabel.text)
