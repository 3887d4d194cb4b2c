"""What the knee phantom consists of, in extension: bones with cartilage, and the soft tissue around them.

Positions are (back, down, across) in mm from the axis of the femoral condyles, in a knee of average size.
"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.phantoms.brush import Brush, ellipse_depth
from STEnhanceLib.phantoms.sampling import Texture, smooth_curve

FLUID, VESSEL, FAT, MARROW, CARTILAGE = 0.95, 0.9, 0.76, 0.6, 0.5
SKIN, MUSCLE, MENISCUS, TENDON, CORTEX = 0.42, 0.27, 0.12, 0.08, 0.06
CORTEX_MM, CARTILAGE_MM = 1.6, 2.4
PATELLA_CENTRE = (-51.0, -4.0)  # (back, down)

_leg_front = smooth_curve([-140, -90, -45, -10, 20, 45, 65, 100, 160], [-70, -68, -66, -69, -64, -47, -42, -37, -33], 8)
_leg_back = smooth_curve([-140, -90, -45, 0, 30, 70, 110, 160], [74, 70, 60, 52, 53, 62, 60, 50], 12)
_femur_front = smooth_curve([-140, -60, -36, -18, 0, 10], [-19, -19, -22, -35, -37, -34], 5)
_femur_back = smooth_curve([-140, -55, -30, -14, 0, 10], [10, 11, 14, 21, 20, 12], 5)
_tibia_front = smooth_curve([20, 40, 52, 62, 72, 95, 160], [-27, -27, -27, -31, -26, -20, -17], 4)
_tibia_back = smooth_curve([20, 38, 48, 66, 90, 160], [25, 24, 20, 13, 10, 9], 5)
_tibia_half_width = smooth_curve([30, 40, 60, 90, 160], [37, 35, 27, 20, 18], 5)


class KneeShapes:
    """The shapes of one knee, by its seed.

    Attributes:
        size: of this knee; 1 is average.
        paint_bone: bone → painter, given a brush in the coordinates of that bone.
        holds: bone → depth in mm below its surface, cartilage and menisci included, at (back, down, across); in the
            order in which bones lie over each other.
    """

    def __init__(self, seed: int):
        random = np.random.default_rng([seed, 11])
        self.size = 1 + random.uniform(-0.06, 0.06)
        self.fat_mm = random.uniform(6, 13)
        self.muscle = MUSCLE * random.uniform(0.9, 1.15)
        self.marrow = MARROW * random.uniform(0.88, 1.12)
        self.patella_half = (random.uniform(9.5, 11.5), random.uniform(19, 22))
        self.effusion_mm = random.uniform(0.8, 2.2)
        self.streaks = random.uniform(0.05, 0.95, 40)
        self.texture = {part: Texture(random) for part in ("soft", "tibia", "femur", "patella")}
        self.paint_bone = {"tibia": self._tibia, "femur": self._femur, "patella": self._patella}
        self.holds = {
            "tibia": lambda u, v, w: np.maximum(_tibia(u, v + CARTILAGE_MM, w), _menisci(u, v, w)),
            "femur": lambda u, v, w: np.maximum(_femur(u, v, w), _condyles(u, v, w) + CARTILAGE_MM),
            "patella": self._patella_depth,
        }

    def paint_soft_tissue(self, paint: Brush) -> None:
        """Skin, fat, muscles, tendons, ligaments, vessels and joint fluid, on black."""
        u, v, w = paint.x, paint.y, paint.z
        outline = _leg(u, v, w)
        paint(SKIN, outline)
        paint(FAT, outline - 1.8)
        for septum in range(18):  # fine septa of the fat under the skin
            down = -150 + 18 * septum + 10 * self.streaks[septum]
            front = float(_leg_front(down))
            paint.within(outline - 2).stroke(0.6, [(front - 2, down), (front + 9, down + 5)], 0.5)
            back = float(_leg_back(down))
            paint.within(outline - 2).stroke(0.6, [(back + 2, down), (back - 9, down - 4)], 0.5)
        inside = paint.within(outline - self.fat_mm)
        self._muscles(inside, u, v, w)
        fat_pad = ellipse_depth(u, v, -41, 20, 11, 17)
        paint(0.95 * FAT, np.minimum(fat_pad, 26 - np.abs(w)))
        across = paint.within(13 - np.abs(w))
        across.stroke(FLUID, [(-30, -58), (-39, -36), (-41, -20)], self.effusion_mm + 0.6, self.effusion_mm)
        across.stroke(FLUID, [(-32, 10), (-28, 26)], self.effusion_mm)
        paint(FLUID, np.minimum(ellipse_depth(u, v, -2, 6, 30, 24), 34 - np.abs(w)))  # of the joint space
        across.stroke(TENDON, [(-38, -150), (-41, -80), (-50, -40), (-54, -22)], 2.6, 3.4)  # of the quadriceps
        across.stroke(TENDON, [(-56, 13), (-46, 40), (-33, 62)], 2.9, 2.5)  # of the patella
        notch = paint.within(8 - np.abs(w))
        notch.stroke(TENDON, [(-11, 32), (8, -6)], 2.6)  # anterior and posterior cruciate ligament
        notch.stroke(TENDON, [(20, 34), (10, 14), (-8, 8)], 3.2)
        vessel_wall, artery = paint.within(8 - np.abs(w + 11)), [(24, -150), (29, -60), (36, -10), (33, 35), (27, 90)]
        vessel_wall.stroke(VESSEL, artery, 3.2, 2.2)
        vessel_wall.stroke(VESSEL, [(back + 8, down) for back, down in artery], 3.8, 2.4)
        paint.image *= 1 + 0.07 * self.texture["soft"](u, v, w)

    def _muscles(self, inside: Brush, u, v, w) -> None:
        fibres = self.muscle * (1 + 0.12 * np.sin((u + 0.12 * v) / 1.9 + 0.5 * np.sin(v / 17) + w / 5))
        heads = (  # back, down, half sizes: quadriceps, hamstrings, gastrocnemius, soleus and popliteus, tibialis
            (-36, -100, 18, 68),
            (45, -110, 24, 82),
            (14, -112, 14, 62),
            (39, 70, 17, 76),
            (20, 112, 13, 66),
            (-28, 135, 9, 62),
        )
        for back, down, thick, long in heads:
            belly = np.minimum(ellipse_depth(u, v, back, down, thick, long), 48 - np.abs(w))
            inside(0.5, belly + 0.9)  # fascia between muscle and fat
            inside(fibres, belly)

    def _femur(self, paint: Brush) -> None:
        u, v, w = paint.x, paint.y, paint.z
        condyles = _condyles(u, v, w)
        paint(CARTILAGE, condyles + CARTILAGE_MM)
        bone = _femur(u, v, w)
        self._bone(paint, "femur", bone, growth_plate=v + 15 - 2.0 * np.sin(u / 9))

    def _tibia(self, paint: Brush) -> None:
        u, v, w = paint.x, paint.y, paint.z
        paint(CARTILAGE, np.minimum(_tibia(u, v + CARTILAGE_MM, w), 34 - v))
        paint(MENISCUS, _menisci(u, v, w))
        self._bone(paint, "tibia", _tibia(u, v, w), growth_plate=v - 49 - 1.6 * np.sin(u / 7))

    def _patella(self, paint: Brush) -> None:
        u, v, w = paint.x, paint.y, paint.z
        bone = self._patella_depth(u, v, w)
        paint(CARTILAGE, np.minimum(bone, 13 - np.abs(v - PATELLA_CENTRE[1])))
        bone = np.minimum(bone, bone - CARTILAGE_MM * np.clip((u - PATELLA_CENTRE[0]) / 4, 0, 1))
        self._bone(paint, "patella", bone)

    def _patella_depth(self, u, v, w):
        thick, long = self.patella_half
        (back, down), narrow = PATELLA_CENTRE, np.sqrt(np.clip(1 - (w / 25) ** 2, 0.02, 1))
        flat = np.where(u < back, 1.25, 1.0)  # its front is flatter than its back
        whole = ellipse_depth(back + (u - back) * flat, down + (v - down) / narrow, back, down, thick + 1.2, long)
        return np.minimum(whole, 23 - np.abs(w))

    def _bone(self, paint: Brush, name: str, depth, growth_plate=None) -> None:
        """Cortex around marrow with trabeculae; the scar of the growth plate is where its distance is 0."""
        u, v, w = paint.x, paint.y, paint.z
        marrow = self.marrow * (1 + 0.10 * self.texture[name](u, v, w))
        if growth_plate is not None:
            marrow = marrow * (1 - 0.35 * np.exp(-0.5 * (growth_plate / 1.1) ** 2))
        paint(CORTEX, depth)
        paint(marrow, depth - CORTEX_MM)


def _leg(u, v, w):
    front, back = _leg_front(v), _leg_back(v)
    half = (back - front) / 2
    return (1 - np.sqrt(((u - (front + back) / 2) / half) ** 2 + (w / 62) ** 2)) * half


def _condyles(u, v, w):
    """Two condyles that roll on the tibia, and the trochlea between them, on which the patella glides."""
    rounded = np.sqrt(np.clip(1 - ((np.abs(w) - 20) / 19) ** 2, 0, 1))
    condyle = 24.5 * rounded - np.hypot(u, v)
    trochlea = 25.5 * np.sqrt(np.clip(1 - (w / 44) ** 2, 0, 1)) - 1.5 * np.exp(-((w / 9) ** 2))
    notch = 4 + 3.5 * np.clip((v - 2) / 10, 0, 1) * (np.abs(w) < 7)  # the roof of the notch rises in the middle
    return np.maximum(condyle, trochlea - np.hypot(u + 13, v) - (notch - 4))


def _femur(u, v, w):
    shaft = np.minimum(np.minimum(u - _femur_front(v), _femur_back(v) - u), 4 - v)
    wide = 16 + 20 / (1 + np.exp(-(v + 26) / 7))
    return np.maximum(np.minimum(shaft, wide - np.abs(w)), _condyles(u, v, w))


def _tibia(u, v, w):
    bowl = 0.9 * np.cos(u / 9)  # the plateau is slightly hollow
    return np.minimum(
        np.minimum(v - 31 - bowl, u - _tibia_front(v)), np.minimum(_tibia_back(v) - u, _tibia_half_width(v) - np.abs(w))
    )


def _menisci(u, v, w):
    """Wedges on the front and the back of the plateau; none in the middle, where the ligaments are."""
    front = np.minimum(np.minimum(v - 29 + 0.55 * (-12 - u), 29.5 - v), u + 26)
    back = np.minimum(np.minimum(v - 29 + 0.55 * (u - 8), 29.5 - v), 23 - u)
    return np.minimum(np.maximum(front, back), np.minimum(np.abs(w) - 8, 34 - np.abs(w)))
