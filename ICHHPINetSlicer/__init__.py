"""ICHHPINet in 3D Slicer: all that may import slicer or vtk. Qt stays in widget.py, torch in the engine process."""
