#!/usr/bin/env bash
# patch-denoise 1.4.4: voxels that no patch covers come back as NaN; a RuntimeWarning of numpy is the only sign.
#
# Patches are laid in steps of patch_shape - patch_overlap from the first voxel on. One would expect the last patch to be
# moved so that it ends at the edge of the volume, or voxels that none covers to stay as they were. But where (size -
# patch) is no multiple of the step, the last voxels along that axis are NaN in the result.
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
from patch_denoise.denoise import mp_pca

random = np.random.default_rng(0)
signal = np.cos(np.linspace(0, 6, 24))[:, None, None, None] + np.sin(np.linspace(0, 3, 12))
volumes = (100 + 10 * np.broadcast_to(signal, (24, 24, 5, 12)) + random.standard_normal((24, 24, 5, 12))).astype(np.float32)
print("patch-denoise", importlib.metadata.version("patch-denoise"), "numpy", np.__version__)
found = {}
for size, overlap in ((6, 4), (5, 3)):
    result = mp_pca(volumes.copy(), patch_shape=(size, size, 5), patch_overlap=(overlap, overlap, 4))[0]
    nan = np.isnan(result).any(axis=(2, 3))
    found[size] = int(nan.sum())
    left = (24 - size) % (size - overlap)
    print(f"24 voxels, patches of {size} in steps of {size - overlap}, {left} left over: {found[size]} of {nan.size} columns are NaN")
print("expected: 0 in both cases")
assert found[6] == 0 and found[5] == 24 * 24 - 23 * 23, "this has changed"
PYTHON
"$folder/venv/bin/python" "$folder/see.py"
