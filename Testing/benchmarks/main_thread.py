"""How long a run holds the main thread, measured by the gaps of a 5 ms timer.

    python Testing/benchmarks/main_thread.py

A linear run of 20 frames of 10 slices of 256 × 256 to 39, with three slice views open. It runs in the stand-in of the
test suite, whose views are painted faster than Slicer's; and under `Slicer --python-script`, where the extension is
installed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
MODULE = "TemporalInterpolation"
TIMER_MS, LONG_MS = 5, 50


def measure(panel, wait) -> str:
    """Run once on random images; `wait` lets the application work until its argument says that it is so."""
    import qt
    import slicer

    from STEnhanceLib import scene
    from STEnhanceLib.sequence import ImageSequence

    frames = np.random.default_rng(0).random((20, 10, 256, 256), np.float32)
    node = scene.add_sequence(ImageSequence(frames, np.eye(4), 40.0 * np.arange(20)))
    slicer.util.setSliceViewerLayers(background=scene.find_sequence(node)[1].GetProxyNode(node))
    panel.parameters.inputNode = node
    panel.choose("linear")
    moments = []
    timer = qt.QTimer()
    timer.setInterval(TIMER_MS)
    timer.connect("timeout()", lambda: moments.append(time.perf_counter()))
    told = []
    for run in ("cold", "warm"):
        moments.clear()
        timer.start()
        start = time.perf_counter()
        panel.apply()
        wait(lambda: not panel.running)
        seconds = time.perf_counter() - start
        timer.stop()
        gaps_ms = 1000 * np.diff(moments)
        told.append(
            f"{run}: {panel.run.finished_frames} frames in {seconds:.2f} s, largest gap {gaps_ms.max():.0f} ms, "
            f"{np.count_nonzero(gaps_ms > LONG_MS)} gaps above {LONG_MS} ms"
        )
    return "\n".join(told)


def in_slicer() -> None:
    """Measure, print and leave."""
    import slicer

    def wait(is_so) -> None:
        while not is_so():
            slicer.app.processEvents()

    slicer.util.selectModule(MODULE)
    print(measure(slicer.util.getModuleWidget(MODULE).panel, wait))
    slicer.util.exit()


def in_the_stand_in() -> None:
    """The same, with the number of paintings of the views."""
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing/Python")]
    from host.session import Host

    host = Host()
    panel = host.load_module(REPOSITORY / "STEnhance" / MODULE / f"{MODULE}.py").panel
    host.show_views()
    from host.layout import qMRMLSliceView

    qMRMLSliceView.paints_at_once = True
    print(measure(panel, host.wait_until))
    print(f"{qMRMLSliceView.renders} paintings of slice views in both runs")
    host.close()


if __name__ == "__main__":
    try:
        from slicer import app  # noqa: F401
    except ImportError:
        in_the_stand_in()
    else:
        in_slicer()
