"""The web page: Slicer's own slice views, scene and segmentations in a browser, on trame-slicer and slicer-core."""
