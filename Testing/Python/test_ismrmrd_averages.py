"""Raw data in which lines were measured several times: their mean, and what it leaves of the noise."""

from __future__ import annotations

import numpy as np
import pytest
import raw_data

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.simulate import simulate

pytest.importorskip("torch")
ismrmrd = pytest.importorskip("ismrmrd")
pytestmark = pytest.mark.usefixtures("one_thread")

LEVEL = 7.0  # of the noise of a single line


@pytest.fixture
def lines(beating_disc) -> KSpace:
    return simulate(beating_disc, "c4").kspace


@pytest.fixture
def read(lines, tmp_path):
    """Reads the lines as a scanner wrote them; `average(readout)` lists the values of its further averages."""

    def read(average) -> KSpace:
        def change(readouts):
            noise, *images = readouts
            again = [_like(readout, data) for readout in images for data in average(readout)]
            return [noise, *images, *again]

        noise = raw_data.white_noise(lines.coils, LEVEL)
        return KSpace.load(raw_data.write(tmp_path / "scan.h5", lines, change=change, oversampling=1, noise=noise))

    return read


def _like(readout, data):
    again = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data))
    again.setHead(readout.getHead())
    again.data[:] = data
    again.idx.average = 1
    return again


def test_repeated_lines_are_averaged(lines, read):
    row = np.flatnonzero(lines.mask[0])[4]

    def thrice_as_large(readout):
        first = readout.idx.phase == 0 and readout.idx.kspace_encode_step_1 == row
        return [3 * readout.data] if first else []

    found = read(thrice_as_large)

    np.testing.assert_allclose(found.samples[0, :, :, row], 2 * lines.samples[0, :, :, row], rtol=1e-4)


@pytest.mark.parametrize("averages", [1, 2, 4])
def test_the_noise_level_is_that_of_the_averages(read, averages):
    found = read(lambda readout: (averages - 1) * [readout.data])

    assert found.noise_std == pytest.approx(LEVEL / np.sqrt(averages), rel=1e-4)
    assert not any("Lines were measured" in note for note in found.notes)


def test_lines_of_unlike_averages_have_the_root_mean_square_of_their_noise(lines, read):
    """The noise of all lines together stays what the residual of a result is held against."""
    centre = lines.grid.shape[1] // 2

    found = read(lambda readout: 3 * [readout.data] if readout.idx.kspace_encode_step_1 == centre else [])

    measured = int(lines.mask.sum())
    averaged = len(lines.mask)  # the centre of every frame
    expected = LEVEL * np.sqrt((measured - averaged + averaged / 4) / measured)
    assert found.noise_std == pytest.approx(expected, rel=1e-4)
    assert any("measured 1 to 4 times" in note for note in found.notes)
