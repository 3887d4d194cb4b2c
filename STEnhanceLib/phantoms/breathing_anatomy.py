"""What the breathing phantom consists of, at the end of expiration: wall, lungs, heart, and the organs of the abdomen.

Positions are (left, down, back) in mm from below the right dome of the diaphragm, in the midline.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from STEnhanceLib.phantoms.brush import Brush, ellipse_depth, line_depth
from STEnhanceLib.phantoms.sampling import Texture, smooth_curve

BLOOD, FLUID, FAT, BOWEL, SPLEEN, LIVER = 0.9, 0.95, 0.76, 0.55, 0.5, 0.42
MYOCARDIUM, MUSCLE, GAS, LUNG, CORTEX = 0.34, 0.27, 0.06, 0.05, 0.08
INDIA_INK, INK_MM = 0.22, 1.1  # water and fat cancel where they share a voxel: dark lines around organs
CAVITY_WIDE, CAVITY_DEEP = 126.0, 92.0  # half axes of the pleural and peritoneal cavity, across and front to back

_body = smooth_curve([-190, -130, -60, 20, 110, 180, 260], [182, 170, 158, 152, 152, 154, 158], 25)
_dome = smooth_curve([-126, -108, -66, -20, 12, 42, 72, 104, 126], [62, 24, 0, 16, 26, 24, 15, 34, 66], 6)
_liver_edge = smooth_curve([-126, -108, -84, -50, -14, 26, 54, 74], [112, 138, 132, 102, 74, 54, 38, 14], 6)
_lung_side = smooth_curve([-175, -150, -120, -80, -30, 40], [60, 88, 106, 116, 123, 126], 8)
_mediastinum = smooth_curve([-190, -150, -110, -70, -30, 20], [34, 30, 27, 30, 34, 36], 8)


def cavity_depth(left, back):
    """Depth in mm below the pleura and the peritoneum: inside slides along the wall."""
    return ellipse_depth(left, back, 0, 0, CAVITY_WIDE, CAVITY_DEEP)


class AbdomenShapes:
    """The organs of one patient, by the seed."""

    def __init__(self, seed: int):
        random = np.random.default_rng([seed, 21])
        self.fat_mm = random.uniform(9, 17)
        self.liver, self.spleen = LIVER * random.uniform(0.88, 1.12), SPLEEN * random.uniform(0.9, 1.1)
        self.heart = (15 + random.uniform(-4, 4), -14 + random.uniform(-3, 3))
        self.heart_size = random.uniform(0.9, 1.08)
        self.texture = {part: Texture(random) for part in ("wall", "organs")}
        self.lung_vessels = [_lung_vessels(random, side) for side in (-1, 1)]
        self.liver_vessels = _liver_vessels(random)
        self.loops = _bowel_loops(random)
        self.ribs = random.uniform(-3, 3)

    def paint_wall(self, paint: Brush) -> None:
        """Skin, fat, muscle and ribs, which surround the cavity."""
        left, down, back = paint.x, paint.y, paint.z
        wide = _body(down)
        body = (1 - np.sqrt((left / wide) ** 2 + (back / 118) ** 2)) * 118
        paint(0.5, body)
        paint(FAT, body - 1.8)
        wall = 150 / CAVITY_WIDE * cavity_depth(left, back)
        muscle = np.minimum(wall + 15, body - 0.4 * self.fat_mm)
        paint(MUSCLE, muscle)
        paint(0.5, np.minimum(0.8 - np.abs(muscle - 8), down - 95))  # fat between the muscles of the flank
        edge = CAVITY_WIDE * np.sqrt(max(1 - float(np.mean(back) / CAVITY_DEEP) ** 2, 0.1))
        for rib in range(10):
            rib_down = -158 + 27 * rib + self.ribs
            if rib_down > 92:
                break
            for side in (-1, 1):
                paint.ellipse(CORTEX, side * (edge + 6.5), rib_down, 4.6, 7.6)
                paint.ellipse(0.5, side * (edge + 6.5), rib_down, 2.8, 5.6)
        paint.image *= 1 + 0.08 * self.texture["wall"](left, down, back)

    def paint_contents(self, paint: Brush) -> None:
        """Everything within the cavity."""
        left, down, back = paint.x, paint.y, paint.z
        dome = _dome(left) + 12 * (back / 70) ** 2 + 0.12 * back
        paint(0.93 * FAT, np.broadcast_to(np.float32(100), paint.image.shape))  # mesentery and omentum
        self._lungs(paint, dome)
        self._abdomen(paint, down - dome)
        paint(MUSCLE, 1.3 - np.abs(down - dome))  # the diaphragm
        self._mediastinum(paint)
        paint.image *= 1 + 0.06 * self.texture["organs"](left, down, back)

    def _lungs(self, paint: Brush, dome) -> None:
        left, down = paint.x, paint.y
        chest = dome - down
        paint(0.5, chest)  # mediastinal and axillary tissue, where there is no lung
        apex = 168 + down - 0.010 * (np.abs(left) - 62) ** 2
        for side, branches in zip((-1, 1), self.lung_vessels, strict=True):
            across = side * left
            lung = np.minimum(np.minimum(across - _mediastinum(down), _lung_side(down) + 8 - across), apex)
            lung = np.minimum(lung, chest)
            paint(LUNG, lung)
            vessels = paint.within(lung - 0.5)
            for points, radius in branches:
                vessels.stroke(0.55, points, radius, 0.7 * radius)

    def _abdomen(self, paint: Brush, below) -> None:
        """Organs below the diaphragm; `below` is the distance from it."""
        left, down, back = paint.x, paint.y, paint.z
        belly = paint.within(below - 1)
        for x, y, half_wide, half_high, wall, content in self.loops:
            belly.ellipse(INDIA_INK, x, y, half_wide + INK_MM, half_high + INK_MM)
            belly.ellipse(wall, x, y, half_wide, half_high)
            belly.ellipse(content, x, y, half_wide - 2.2, half_high - 2.2)
        bend = [(74, 52, 27), (66, 82, 23), (44, 108, 17), (14, 112, 12)]
        stomach = np.maximum.reduce([line_depth(left, down, a[:2], b[:2], a[2], b[2]) for a, b in pairwise(bend)])
        self._organ(belly, stomach, 0.36)
        belly(0.56, stomach - 3.4 - 1.2 * np.sin(down / 3.1 + 0.4 * np.sin(left / 5)))  # content between folds
        belly.within(stomach - 5).ellipse(GAS, 76, 46, 15, 9)
        self._organ(belly, ellipse_depth(left - 0.25 * down, down, 84, 74, 15, 43), self.spleen)
        for side, y in ((-1, 128), (1, 112)):  # kidneys lie at the back
            tilted = left - side * 0.25 * (down - y)
            kidney = ellipse_depth(tilted, down, side * 62, y, 25, 50) - 0.06 * np.clip(34 - back, 0, None) ** 2
            self._organ(belly, kidney, 0.62)
            belly(0.48, kidney - 7)
            belly(FAT, kidney - 15)
        liver = np.minimum(np.minimum(below - 1.5, _liver_edge(left) - down), cavity_depth(left, back) - 1.5)
        self._organ(belly, liver, self.liver)
        vessels = belly.within(liver - 2)
        for points, radius in self.liver_vessels:
            vessels.stroke(0.8, points, radius, 0.7 * radius)
        gallbladder = line_depth(left, down, (-50, 96), (-62, 122), 5.5, 10.5)
        self._organ(belly, np.minimum(gallbladder, 26 - np.abs(back)), MUSCLE)
        belly(FLUID, gallbladder - 1.2)
        for course in ([(-24, 4), (-19, 40), (-15, 90), (-14, 300)], [(14, 6), (9, 70), (4, 150), (2, 300)]):
            belly.stroke(INDIA_INK, course, 9.6, 8.4)  # inferior vena cava, aorta
            belly.stroke(BLOOD, course, 8.2, 7.0)

    @staticmethod
    def _organ(paint: Brush, depth, signal) -> None:
        paint(INDIA_INK, depth + INK_MM)
        paint(signal, depth)

    def _mediastinum(self, paint: Brush) -> None:
        x, y = self.heart
        cava = [(-16, -200), (-22, -140), (-27, -90), (-25, -40)]
        paint.stroke(MUSCLE, cava, 8.5)  # superior vena cava
        paint.stroke(BLOOD, cava, 7)
        aorta = [(x - 12, y - 28), (-6, -80), (-1, -96), (9, -106), (20, -105), (27, -95)]
        paint.stroke(MUSCLE, aorta, 12.5, 11)
        paint.stroke(BLOOD, aorta, 11, 9.5)
        paint.stroke(MUSCLE, [(x + 2, y - 30), (24, -70), (50, -74)], 11, 7)
        paint.stroke(BLOOD, [(x + 2, y - 30), (24, -70), (50, -74)], 9.5, 5.5)
        scale = self.heart_size
        turn = np.radians(28)
        across = ((paint.x - x) * np.cos(turn) + (paint.y - y) * np.sin(turn)) / scale
        along = ((paint.y - y) * np.cos(turn) - (paint.x - x) * np.sin(turn)) / scale
        heart = Brush(paint.image, across, along, paint.z / scale, paint.edge_mm / scale)
        heart.ellipse(0.9 * FAT, 0, 0, 58, 38)
        heart.ellipse(INDIA_INK, 0, -1, 54.5, 34.5)
        heart.ellipse(MYOCARDIUM, 0, -1, 53.5, 33.5)
        heart.ellipse(BLOOD, 23, -2, 23, 18)  # left ventricle
        heart.ellipse(MYOCARDIUM, 30, 6, 5, 4)
        heart.ellipse(MYOCARDIUM, 26, -12, 4.5, 3.5)
        heart.ellipse(BLOOD, -2, 17, 29, 10)  # right ventricle
        heart.ellipse(BLOOD, -34, 2, 16, 21)  # right atrium
        heart.ellipse(BLOOD, -12, -19, 15, 9)  # outflow


def _tree(random, start, angle: float, length: float, radius: float, thinnest: float) -> list:  # noqa: PLR0917
    """Lines that fork and taper, as (points, radius)."""
    x, y = start
    bend = angle + random.uniform(-0.3, 0.3)
    middle = (x + 0.5 * length * np.cos(angle), y + 0.5 * length * np.sin(angle))
    end = (middle[0] + 0.5 * length * np.cos(bend), middle[1] + 0.5 * length * np.sin(bend))
    lines = [([start, middle, end], radius)]
    if 0.7 * radius >= thinnest:
        for turn in (-1, 1):
            towards = bend + turn * random.uniform(0.2, 0.65)
            lines += _tree(random, end, towards, 0.78 * length, 0.7 * radius, thinnest)
    return lines


def _lung_vessels(random: np.random.Generator, side: int) -> list:
    lines = []
    for direction in (-1.25, -0.65, 0.0, 0.65, 1.2):
        towards = direction + random.uniform(-0.15, 0.15)
        start, length = (side * 34.0, -62.0), random.uniform(32, 42)
        lines += _tree(random, start, towards if side > 0 else np.pi - towards, length, 3.2, 1.0)
    return lines


def _liver_vessels(random: np.random.Generator) -> list:
    """Hepatic veins towards the vena cava, and the portal vein with its branches."""
    lines = []
    for towards in (2.75, 2.15, 0.55):
        lines += _tree(random, (-22, 22), towards + random.uniform(-0.15, 0.15), random.uniform(30, 38), 3.4, 1.2)
    lines.append(([(-6, 98), (-28, 78), (-46, 70)], 5.0))
    for start, towards in (((-46, 70), 2.55), ((-46, 70), 3.3), ((-30, 76), -1.0)):
        lines += _tree(random, start, towards + random.uniform(-0.15, 0.15), random.uniform(24, 32), 3.4, 1.2)
    return lines


def _bowel_loops(random: np.random.Generator) -> list:
    """Colon along both flanks and across, small bowel between: x, y, half sizes, signal of wall and content."""
    loops = [
        (x + random.uniform(-2, 2), 150 + 14 * np.cos(x / 60) + random.uniform(-3, 3), 16, 12)
        for x in np.arange(-104, 105, 26)
    ]
    for y in np.arange(176, 290, 25):
        loops += [(side * 106 + random.uniform(-3, 3), y, 14, 15) for side in (-1, 1)]
    colon = [(*loop, 0.42, random.choice([0.12, 0.3, 0.62])) for loop in loops]
    small = []
    for y in np.arange(182, 300, 21):
        for x in np.arange(-74, 75, 29):
            place = x + random.uniform(-5, 5), y + random.uniform(-4, 4)
            small.append((*place, random.uniform(11, 16), random.uniform(8, 11), 0.48, random.uniform(0.55, 0.9)))
    return colon + small
