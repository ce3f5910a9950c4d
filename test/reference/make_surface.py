"""Distances between outlines by SciPy: distance_transform_edt and binary_erosion, and numpy's percentile."""
import json

import numpy as np
from scipy import ndimage

from reference_files import HERE, write_safetensors

rng = np.random.default_rng(11)


def outline(mask):
    return mask & ~ndimage.binary_erosion(mask)


def scores(a, b, spacing):
    sa, sb = outline(a), outline(b)
    to_a = ndimage.distance_transform_edt(~sa, sampling=spacing)
    to_b = ndimage.distance_transform_edt(~sb, sampling=spacing)
    ab, ba = to_b[sa], to_a[sb]
    width = 0.02 * np.linalg.norm(np.array(a.shape) * spacing)
    band_a, band_b = a & (to_a < width), b & (to_b < width)
    return {
        "hausdorff95": max(np.percentile(ab, 95), np.percentile(ba, 95)),
        "meanSurfaceDistance": (ab.sum() + ba.sum()) / (len(ab) + len(ba)),
        "boundaryIou": (band_a & band_b).sum() / (band_a | band_b).sum(),
    }


def blob(shape, sigma):
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return field > np.quantile(field, 0.7)


cases, arrays = [], {}
for name, shape, spacing, sigma in [
    ("square", (32, 32), (1, 1), 3),
    ("wide-pixels", (40, 25), (0.7, 1.9), 2),
    ("noise", (30, 50), (1, 1), 0.5),
    ("large", (120, 90), (0.35, 0.35), 8),
    ("volume", (12, 20, 16), (5.0, 0.8, 0.7), 2),
    ("one-row", (1, 40), (1, 2), 1),
]:
    a, b = blob(shape, sigma), blob(shape, sigma)
    arrays[f"{name}/prediction"], arrays[f"{name}/truth"] = a.astype(np.int32), b.astype(np.int32)
    cases.append({"name": name, "shape": shape, "spacing": spacing, **scores(a, b, spacing)})
lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "surface.json").write_text(f"[\n{lines}\n]\n")
write_safetensors(HERE / "surface.safetensors", arrays)
