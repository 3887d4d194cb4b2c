"""The HTML report: what it embeds, what it scores, what it refuses, and that it runs in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.alignment import interpolated
from STEnhanceLib.evaluation.metrics import heart_box, score
from STEnhanceLib.evaluation.pictures import grey_levels, png_data_uri, sheet
from STEnhanceLib.evaluation.report import Comparison, write_report
from STEnhanceLib.sequence import ImageSequence

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "img", "input", "link", "br", "hr"}


class Page(HTMLParser):
    """Collects elements, visible text and addresses, and insists that every element is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.addresses, self.words, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def embedded(path: Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="comparisons">(.*?)</script>', text, re.S)[1])


def decoded(uri: str, folder: Path) -> np.ndarray:
    file = folder / "sheet.png"
    file.write_bytes(base64.b64decode(uri.removeprefix("data:image/png;base64,")))
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def frame_of(picture: np.ndarray, frame: int, columns: int, size: tuple[int, int]) -> np.ndarray:
    across, down = size
    row, column = divmod(frame, columns)
    return picture[row * down : (row + 1) * down, column * across : (column + 1) * across]


@pytest.fixture
def blurred(beating_disc) -> ImageSequence:
    from scipy.ndimage import uniform_filter

    frames = uniform_filter(beating_disc.frames, (0, 0, 3, 3))
    return replace(beating_disc, frames=frames, name="blurred", attributes={"STEnhance.MethodTitle": "Box filter"})


@pytest.fixture
def coarse(beating_disc) -> ImageSequence:
    """Every second voxel in plane: the first voxels coincide."""
    return ImageSequence.from_frames(
        beating_disc.frames[:, :, ::2, ::2], beating_disc.grid.resampled((3, 20, 24)), name="coarse"
    )


@pytest.fixture
def sparse(beating_disc) -> ImageSequence:
    return replace(beating_disc.with_frames([0, 2, 4, 6]), name="every second")


# The page


def test_the_page_needs_nothing_but_itself(tmp_path, beating_disc, coarse, blurred):
    path = write_report(tmp_path / "new" / "report", [Comparison("Sharper", coarse, [blurred], beating_disc)], "Discs")
    assert path == tmp_path / "new" / "report" / "index.html"
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert "Research software: not for clinical use." in page.text


def test_embedded_pictures_are_the_frames_in_8_bits(tmp_path, beating_disc, coarse, blurred):
    path = write_report(tmp_path, [Comparison("Sharper", coarse, [blurred], beating_disc)])
    (data,) = embedded(path)
    k, (low, high) = data["slice"], data["grey"]
    assert k == 1, "the brightest slice moves most"
    sheets = [a for tag, a in Page(path.read_text()).elements if tag == "img" and a["data-slice"] == str(k)]
    assert len(sheets) == len(data["panes"]) == 5
    for sequence, pane, element in zip((coarse, blurred, beating_disc), data["panes"], sheets, strict=False):
        picture = decoded(element["src"], tmp_path)
        for t in range(len(sequence)):
            shown = frame_of(picture, pane["frames"][t], pane["columns"], pane["size"])
            voxels = sequence.frames[t, k]
            np.testing.assert_allclose(
                low + shown / 255 * (high - low), np.clip(voxels, low, high), atol=(high - low) / 500
            )
    error, element = data["panes"][-1], sheets[-1]
    assert error["signed"]
    levels = frame_of(decoded(element["src"], tmp_path), 3, error["columns"], error["size"])
    truth = np.clip((blurred.frames - beating_disc.frames)[3, k] / data["limit"], -1, 1)
    np.testing.assert_allclose((levels.astype(float) - 32) / 32, truth, atol=1 / 60)


def test_a_sheet_survives_the_png_unchanged(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (7, 5, 11), dtype=np.uint8)
    picture = decoded(png_data_uri(sheet(levels)), tmp_path)
    assert picture.shape == (3 * 5, 3 * 11)
    for t in range(7):
        np.testing.assert_array_equal(frame_of(picture, t, 3, (11, 5)), levels[t])


def test_names_cannot_inject_markup(tmp_path, beating_disc, blurred):
    evil = "</script><script>alert(1)</script>"
    attributes = {"STEnhance.MethodTitle": evil, "STEnhance.Parameters": f'{{"a":"{evil}"}}'}
    named = replace(blurred, name=evil, notes=(evil,), attributes=attributes)
    before = replace(beating_disc, name=evil)
    plain = write_report(tmp_path / "plain", [Comparison("A", beating_disc, [blurred], beating_disc)], "B", "C")
    path = write_report(tmp_path / "evil", [Comparison(evil, before, [named], beating_disc)], evil, evil)
    page = Page(path.read_text(encoding="utf-8"))
    count = [tag for tag, _ in page.elements].count
    assert count("script") == [tag for tag, _ in Page(plain.read_text(encoding="utf-8")).elements].count("script")
    assert page.text.count(evil) >= 5


def test_several_comparisons_share_one_page(tmp_path, beating_disc, coarse, sparse, blurred):
    path = write_report(
        tmp_path,
        [
            Comparison("In space", coarse, [blurred], beating_disc),
            Comparison("In time", sparse, [blurred], beating_disc),
        ],
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert {"#c1", "#c2"} <= set(page.addresses)
    assert [a["id"] for tag, a in page.elements if tag == "section"] == ["c1", "c2"]
    assert len(embedded(path)) == 2


# What it says


def test_the_table_holds_the_strict_scores_of_frame_and_heart_box(tmp_path, beating_disc, coarse, blurred):
    other = replace(blurred, frames=beating_disc.frames + 1, name="brighter", attributes={})
    comparison = Comparison("Both", coarse, [blurred, other], beating_disc, heart_centre_xy=(25, 19))
    text = write_report(tmp_path, [comparison]).read_text(encoding="utf-8")
    rows = re.findall(r'<th scope="row">.*?</tr>', text)
    assert len(rows) == 3
    box = heart_box((25, 19), beating_disc.grid.shape)
    for row, result in zip(rows[1:], (blurred, other), strict=True):
        scores = score(result, beating_disc, box)
        expected = [
            f"{region.means()[metric]:.{decimals}f}"
            for region in (scores.whole, scores.box)
            for metric, decimals in (("psnr", 2), ("ssim", 4), ("nrmse", 4), ("mae", 4))
        ]
        assert re.findall(r"<td>(?:<b>)?([\d.]+)", row) == expected
    assert "Box filter" in rows[1]
    assert "brighter" in rows[2]
    assert "<b>" in rows[2], "the best is bold"
    assert "<b>" not in rows[1]


def test_only_frames_that_the_input_lacks_are_scored(tmp_path, beating_disc, sparse):
    spoiled = beating_disc.frames.copy()
    spoiled[[0, 2, 4, 6]] = 0  # where the scanner measured, nothing can be gained or lost
    comparison = Comparison("In time", sparse, [replace(beating_disc, frames=spoiled)], beating_disc)
    assert comparison.scored_frames.tolist() == [1, 3, 5, 7]
    assert np.isinf(comparison.scores[1].whole.psnr).all()
    page = Page(write_report(tmp_path, [comparison]).read_text(encoding="utf-8"))
    assert "Means over the 4 frames that the input lacks" in page.text
    assert "4 of 8 frames lie at a measured time, 4 were filled in" in page.text


def test_a_frame_that_equals_the_reference_is_said_and_left_out_of_the_mean(tmp_path, beating_disc):
    frames = 1.1 * beating_disc.frames
    frames[2] = beating_disc.frames[2]
    result = replace(beating_disc, name="filled", frames=frames.astype(np.float32))
    page = Page(write_report(tmp_path, [Comparison("One", result, [result], beating_disc)]).read_text(encoding="utf-8"))
    assert "filled: 1 of 8 frames equals the reference; PSNR is the mean of the others." in page.text
    assert "∞" not in page.text and "inf" not in page.text.split()


def test_generated_frames_are_marked_and_the_input_holds_its_last_frame(tmp_path, beating_disc, sparse):
    path = write_report(tmp_path, [Comparison("In time", sparse, [replace(beating_disc, name="filled")])])
    (data,) = embedded(path)
    before, result = data["panes"][:2]
    assert before["frames"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert before["badges"] == ["", "held"] * 4
    assert result["frames"] == list(range(8))
    assert result["badges"] == ["measured", "generated"] * 4
    marks = re.findall(r'<i class="(\w+)" title="([\d.]+) ms">', path.read_text(encoding="utf-8"))
    assert marks == [(kind, f"{50 * t}") for t, kind in enumerate(["measured", "generated"] * 4)]
    assert beating_disc.times_ms[data["start"]] not in sparse.times_ms, "opens where it matters"


def test_the_unsupported_share_of_every_frame_is_shown_where_it_is_known(tmp_path, beating_disc, blurred):
    shares = "0.25 0.5 nan 0 1 0.125 0.5 0.5"
    known = replace(blurred, attributes={"STEnhance.UnsupportedPerFrame": shares})
    path = write_report(tmp_path, [Comparison("Cleaner", beating_disc, [known])])
    badges = embedded(path)[0]["panes"][1]["badges"]
    assert badges[:4] == ["25 % unsupported", "50 % unsupported", "", "0 % unsupported"]
    assert "41.1 % of a frame is not supported" in Page(path.read_text(encoding="utf-8")).text


def test_without_a_reference_the_page_shows_changes_and_claims_no_quality(tmp_path, coarse, blurred):
    text = Page(write_report(tmp_path, [Comparison("Sharper", coarse, [blurred])]).read_text(encoding="utf-8")).text
    assert "No reference was given, so nothing is scored." in text
    assert "Box filter − input" in text
    assert "PSNR" not in text


def test_the_size_of_voxels_is_said_of_each_picture_and_not_of_all(tmp_path, beating_disc, coarse):
    text = Page(write_report(tmp_path, [Comparison("Worse", beating_disc, [coarse])]).read_text(encoding="utf-8")).text
    assert "48 × 40, 1.25 × 1.5 mm" in text
    assert "or coarser" not in text, "the input is finer than what it is compared with"


def test_provenance_and_assumptions_are_written_out(tmp_path, beating_disc, blurred):
    attributes = {
        "STEnhance.Method": "box",
        "STEnhance.Generative": "no",
        "STEnhance.GeneratedFrames": "4 of 8",
        "STEnhance.Parameters": '{"width": 3, "model": "", "spacing": null}',
        "STEnhance.Simulated": '{"acquisition": "s4"}',
        "STEnhance.Assumed": "Times were assumed 50 ms apart.",
        "PatientName": "Jane Doe",
    }
    made = replace(blurred, attributes=attributes)
    text = Page(write_report(tmp_path, [Comparison("C", beating_disc, [made])]).read_text(encoding="utf-8")).text
    for words in (
        "width = 3",
        "Simulated acquisition = s4",
        "Generative no",
        "Generated frames 4 of 8",
        "Times were assumed 50 ms apart.",
        "1.25 × 1.5 × 8",
        "48 × 40 × 3",
        "-81.50, 44.25, 12.12",
    ):
        assert words in text
    assert "model" not in text and "spacing =" not in text, "what was left empty decided nothing"
    assert "Jane Doe" not in text, "only what the product itself wrote down leaves the file"


# What it refuses


def test_sequences_that_do_not_lie_on_one_another_are_refused_before_anything_is_written(
    tmp_path, beating_disc, coarse
):
    turned = beating_disc.ijk_to_ras @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for spoiled, message in (
        (Comparison("A", beating_disc, [coarse], beating_disc), "24×20×3"),
        (Comparison("A", replace(beating_disc, ijk_to_ras=turned), [beating_disc]), "turned, sheared or mirrored"),
        (Comparison("A", beating_disc, [replace(beating_disc, ijk_to_ras=beating_disc.ijk_to_ras + np.eye(4, k=3))],
                    beating_disc), "1 mm off"),
        (Comparison("A", beating_disc, [replace(beating_disc, times_ms=beating_disc.times_ms + 17)], beating_disc),
         "no moment"),
    ):  # fmt: skip
        with pytest.raises(STEnhanceError, match=message):
            write_report(tmp_path / "report", [spoiled])
    assert not (tmp_path / "report").exists()
    with pytest.raises(STEnhanceError, match="no result"):
        Comparison("A", beating_disc, [])
    with pytest.raises(STEnhanceError, match="outside the image"):
        Comparison("A", beating_disc, [beating_disc], heart_centre_xy=(400, 3))
    with pytest.raises(STEnhanceError, match="at least one comparison"):
        write_report(tmp_path, [])


def test_a_page_that_does_not_fit_on_the_disk_leaves_the_old_one(tmp_path, beating_disc):
    resource = pytest.importorskip("resource", reason="file sizes cannot be limited on this system")
    comparison = Comparison("A", beating_disc, [beating_disc])
    page = write_report(tmp_path, [comparison])
    old = page.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
    try:
        with pytest.raises(STEnhanceError, match="cannot be written"):
            write_report(tmp_path, [comparison], "new title")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert page.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path, beating_disc):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(STEnhanceError, match="cannot be written"):
        write_report(tmp_path / "report", [Comparison("A", beating_disc, [beating_disc])])
    assert (tmp_path / "report").read_text() == "mine"


# Real data, real browser


def test_a_real_cine_makes_a_page_that_fits_in_a_mail(tmp_path, stenhance_data):
    image = SimpleITK.ReadImage(str(stenhance_data / "cine" / "scd0000301_sax.nii.gz"))
    frames = SimpleITK.GetArrayFromImage(image)[:, 5:6].astype(np.float32)
    matrix = np.diag([*(-n for n in image.GetSpacing()[:2]), image.GetSpacing()[2], 1.0])
    truth = ImageSequence(frames, matrix, 46.11 * np.arange(20), periodic=True, name="short axis")
    coarse = ImageSequence.from_frames(truth.frames[:, :, ::4, ::4], truth.grid.resampled((1, 64, 64)), name="coarse")
    linear = replace(truth, frames=interpolated(coarse, truth.grid), name="linear")
    comparison = Comparison("Sharper", coarse, [linear], truth, heart_centre_xy=(132, 123))
    path = write_report(tmp_path, [comparison])
    assert path.stat().st_size < 4e6
    assert comparison.scores[0].box.means() == comparison.scores[1].box.means()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page in")
def test_the_page_runs_in_a_real_browser(tmp_path, beating_disc, coarse, blurred):
    path = write_report(tmp_path, [Comparison("Sharper", coarse, [blurred], beating_disc, (25, 19))])
    probe = """<pre id="probe"></pre><script>
      const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      (async () => {
        const viewer = viewers[0];
        while (!viewer.root.dataset.ready) await new Promise((done) => setTimeout(done, 20));
        press("ArrowRight"); press("ArrowRight"); press("ArrowLeft"); press("ArrowRight");
        const [before, result] = viewer.panes, canvas = result.canvas;
        const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const profile = viewer.profiles[2];
        const strip = profile.getContext("2d").getImageData(0, 0, profile.width, profile.height);
        document.getElementById("probe").textContent = JSON.stringify({
          step: viewer.step, slider: viewer.find("input.time").value, bytes: [...result.bytes],
          drawn: [...drawn].filter((_, n) => n % 4 === 0), profile: [strip.width, strip.height],
          profileRange: [Math.min(...strip.data), Math.max(...strip.data)] });
      })();
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=60000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    run = subprocess.run(
        [CHROMIUM, *flags, profile, "--dump-dom", probed.as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert "CONSOLE" not in run.stderr
    seen = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', run.stdout, re.S)[1])
    (data,) = embedded(path)
    levels = grey_levels(blurred.frames[:, data["slice"]], *data["grey"])
    np.testing.assert_array_equal(np.array(seen["bytes"], np.uint8).reshape(levels.shape), levels)
    assert (seen["step"], seen["slider"]) == (2, "2")
    low, high = data["window"]
    values = data["grey"][0] + levels[2] / 255 * (data["grey"][1] - data["grey"][0])
    expected = np.clip(255 * (values - low) / (high - low), 0, 255)
    np.testing.assert_allclose(np.array(seen["drawn"]).reshape(expected.shape), expected, atol=1)
    assert seen["profile"] == [8, round(2 * data["half"][0])]
    assert seen["profileRange"][1] > seen["profileRange"][0]
