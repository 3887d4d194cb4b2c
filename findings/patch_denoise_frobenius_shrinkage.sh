#!/usr/bin/env bash
# patch-denoise 1.4.4: optimal_thresholding(loss="fro"), its default, makes images worse than the noise it removes.
#
# Gavish and Donoho (IEEE Trans Inf Theory 2017; 63:2137-2152, eq. 7) shrink a singular value y, in units of the noise, to
# sqrt((y² - β - 1)² - 4β) / y, which approaches y for large y. The package divides by y below the root, so that large
# values grow like y to the power of 1.5: signal is multiplied instead of noise removed. loss="ope" stays below the noise.
#
# Seen with patch-denoise 1.4.4 and numpy 1.26.4; fails when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check patch-denoise==1.4.4 numpy==1.26.4
cat > "$folder/see.py" <<'PYTHON'
import importlib.metadata

import numpy as np
from patch_denoise.denoise import optimal_thresholding

random = np.random.default_rng(0)
shape, std = (24, 24, 6, 20), 1.0
course = np.cos(np.linspace(0, 6, 24))[:, None, None, None] + np.sin(np.linspace(0, 3, 20))
truth = np.broadcast_to(100 + 10 * course, shape).astype(np.float32)
noisy = (truth + std * random.standard_normal(shape)).astype(np.float32)
print("patch-denoise", importlib.metadata.version("patch-denoise"), "numpy", np.__version__)


def error(images):
    return float(np.sqrt(np.mean((images - truth) ** 2)))


errors = {}
for loss in ("ope", "fro"):
    result = optimal_thresholding(
        noisy.copy(), patch_shape=(6, 6, 6), patch_overlap=(3, 3, 3), loss=loss, noise_std=std * np.ones(shape[:3])
    )[0]
    errors[loss] = error(result)
    print(f"loss={loss}: error {errors[loss]:.2f}, brightness {result.mean() / truth.mean():.2f} times the true one")
print(f"expected: both errors below that of the input, {error(noisy):.2f}, and the brightness unchanged")
assert errors["ope"] < error(noisy) and errors["fro"] > 5 * error(noisy), "this has changed"
PYTHON
"$folder/venv/bin/python" "$folder/see.py"
