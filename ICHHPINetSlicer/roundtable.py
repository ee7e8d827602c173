"""The table of rounds in the panel: a row a round, those left behind in grey."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from .logic import Row

GREY = 140  # text of rounds that were left behind


def prepare(table: Any) -> None:
    """The columns of an empty table."""
    titles = [_("Round"), _("ml"), _("Δ ml"), _("Δ %"), _("Strokes"), _("s")]
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)


def fill(table: Any, rows: list[Row]) -> None:
    """Show these rounds, the current one selected."""
    table.setRowCount(len(rows))
    for index, row in enumerate(rows):
        percent = "" if row.delta_percent is None else f"{round(row.delta_percent):+d}"
        delta = "" if row.delta_ml is None else f"{round(row.delta_ml, 1) + 0.0:+.1f}"  # + 0.0: never -0.0
        texts = (str(row.number), f"{row.volume_ml:.1f}", delta, percent, str(row.strokes))
        for column, text in enumerate((*texts, f"{row.seconds:.1f}")):
            cell = qt.QTableWidgetItem(text)
            cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if not row.on_line:
                cell.setForeground(qt.QBrush(qt.QColor(GREY, GREY, GREY)))
            table.setItem(index, column, cell)
        if row.current:
            table.selectRow(index)
