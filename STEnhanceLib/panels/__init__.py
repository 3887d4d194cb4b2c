"""The Qt pieces that the three modules share. Imported only inside Slicer, where `qt` and `slicer` exist."""
