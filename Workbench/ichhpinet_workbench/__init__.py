"""Workbench of ICH-HPINet: generator, simulated radiologist, training and evaluation. Never shipped to Slicer."""
