"""Connected components and hysteresis thresholding from SciPy and scikit-image. Writes components.json
and components.safetensors.

    /usr/bin/python3 test/reference/make_components.py
"""
import numpy as np
import scipy.ndimage
import skimage.filters
import skimage.measure

from reference_files import Table

t = Table("components", seed=2018)
STRUCTURE = {4: scipy.ndimage.generate_binary_structure(2, 1), 8: scipy.ndimage.generate_binary_structure(2, 2)}


def label(mask, connectivity):
    """Labels 1…n in raster order of each component's first pixel; SciPy and scikit-image agree on the partition."""
    labels, count = scipy.ndimage.label(mask, STRUCTURE[connectivity])
    present, first = np.unique(labels, return_index=True)
    order = present[np.argsort(first)]
    order = order[order != 0]
    rank = np.zeros(count + 1, np.int32)
    rank[order] = np.arange(1, count + 1)
    labels = rank[labels]
    other = skimage.measure.label(mask, connectivity=connectivity // 4)
    pairs = np.unique(np.stack([labels.ravel(), other.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(other))
    return labels, count


def components(name, masks):
    """masks (N, H, W). areas, boxes and centroids of all images one after another; `count` splits them."""
    masks = np.asarray(masks) != 0
    for connectivity in (4, 8):
        labels, counts, areas, boxes, centroids = [], [], [], [], []
        for mask in masks:
            image, count = label(mask, connectivity)
            labels.append(image)
            counts.append(count)
            for region in skimage.measure.regionprops(image):
                top, left, bottom, right = region.bbox
                areas.append(int(region.area))
                boxes.append([left, top, right - left, bottom - top])
                centroids.append(region.centroid[::-1])
        case = {
            "name": f"connectedComponents/{name}-{connectivity}", "op": "connectedComponents", "inputs": ["mask"],
            "attrs": {"connectivity": connectivity}, "outputs": ["labels", "count", "areas", "boxes", "centroids"],
        }
        t.cases.append(case)
        t.keep(case, "mask", masks[:, None].astype(np.float32))
        t.keep(case, "labels", np.stack(labels)[:, None])
        t.keep(case, "count", np.array(counts))
        t.keep(case, "areas", np.array(areas, np.int32))
        t.keep(case, "boxes", np.array(boxes, np.int32).reshape(-1, 4))
        t.keep(case, "centroids", np.array(centroids, np.float64).reshape(-1, 2))


def spiral(size):
    """One component, one pixel wide, one pixel of gap between its turns."""
    mask = np.zeros((size, size), bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[y, x] = True
    blocked = lambda y, x: not (0 <= y < size and 0 <= x < size)
    while True:
        steps = 0
        while not blocked(y + dy, x + dx) and (blocked(y + 2 * dy, x + 2 * dx) or not mask[y + 2 * dy, x + 2 * dx]):
            y, x, steps = y + dy, x + dx, steps + 1
            mask[y, x] = True
        if steps < 2:
            return mask
        dy, dx = dx, -dy


def noise(h, w, density):
    return t.rng.random((h, w)) < density


def shapes():
    components("random-densities", [noise(13, 17, d) for d in (0.1, 0.3, 0.41, 0.5, 0.59, 0.7, 0.9)])
    components("random-41-percent", [noise(64, 61, 0.41)])  # about 8-connectivity's percolation threshold
    components("random-59-percent", [noise(61, 64, 0.59)])  # about 4-connectivity's
    components("spiral", [spiral(31)])
    components("spiral-inverse", [~spiral(31)])
    comb = np.zeros((12, 21), bool)
    comb[:, ::2], comb[-1] = True, True  # teeth that meet only in the last row
    components("comb-teeth-up", [comb])
    components("comb-teeth-down", [comb[::-1]])
    components("comb-teeth-left", [np.rot90(comb)])
    v, u = np.mgrid[:9, :10]
    components("checkerboard", [(u + v) % 2 == 0])
    components("diagonal", [np.eye(9, 11, dtype=bool), np.eye(9, 11, dtype=bool)[:, ::-1]])
    single = np.zeros((4, 5, 7), bool)
    single[0, 0, 0], single[1, 4, 6], single[2, 2, 3] = True, True, True
    components("single-pixel-and-empty", single)
    components("full", np.ones((1, 6, 9)))
    components("empty", np.zeros((1, 6, 9)))
    components("full-between-empty", [np.zeros((5, 4)), np.ones((5, 4)), np.zeros((5, 4))])
    components("one-by-one", [[[1]], [[0]]])
    components("row", [noise(1, 67, 0.6)])
    components("column", [noise(67, 1, 0.6)])
    rings = np.hypot(*(np.mgrid[:25, :27] - 12.0))
    components("rings", [(rings.astype(int) % 4) < 2])
    discs = np.zeros((40, 50), bool)
    for cy, cx, r in ((8, 9, 6), (10, 30, 8), (30, 12, 7), (28, 38, 9), (20, 22, 3)):
        discs |= np.hypot(*(np.mgrid[:40, :50] - np.array([cy, cx])[:, None, None])) < r
    components("discs", [discs, discs[::-1, ::-1]])
    edges = np.zeros((8, 8), bool)
    edges[0], edges[-1], edges[3, 0], edges[4, 7] = True, True, True, True  # rows must not run on into the next
    components("border-rows", [edges])


def hysteresis(name, images, low, high):
    """x > low, kept where its component holds some x > high."""
    images = np.asarray(images, np.float32)
    low, high = float(np.float32(low)), float(np.float32(high))
    for connectivity in (4, 8):
        kept = []
        for image in images.astype(np.float64):
            labels, count = label(image > low, connectivity)
            strong = np.unique(labels[image > high])
            result = np.isin(labels, strong[strong != 0])
            if connectivity == 4:  # scikit-image has this one only
                assert np.array_equal(result, skimage.filters.apply_hysteresis_threshold(image, low, high))
            kept.append(result)
        case = {
            "name": f"hysteresisThreshold/{name}-{connectivity}", "op": "hysteresisThreshold", "inputs": ["x"],
            "attrs": {"low": low, "high": high, "connectivity": connectivity}, "outputs": ["y"],
        }
        t.cases.append(case)
        t.keep(case, "x", images[:, None])
        t.keep(case, "y", np.stack(kept)[:, None].astype(np.float32))


def thresholds():
    blurred = lambda h, w: scipy.ndimage.gaussian_filter(t.rng.standard_normal((h, w)), 1.2)
    hysteresis("smooth-noise", [blurred(23, 29) for _ in range(3)], 0.0, 0.4)
    hysteresis("sparse-peaks", [blurred(37, 31)], 0.05, 0.7)
    hysteresis("white-noise", [t.rng.random((19, 23)) for _ in range(2)], 0.5, 0.95)
    hysteresis("values-at-the-thresholds", [t.rng.integers(0, 9, (17, 13)) / 8 for _ in range(2)], 0.25, 0.75)
    fused = np.maximum(scipy.ndimage.gaussian_filter(t.rng.random((2, 20, 24)) > 0.97, (0, 2, 2), output=float), 0)
    hysteresis("fused-votes-low-0", fused / fused.max((1, 2), keepdims=True) * (fused > 0.004), 0.0, 0.4)
    hysteresis("nothing-strong", [t.rng.random((7, 9)) * 0.5], 0.1, 0.6)
    hysteresis("nothing-at-all", np.zeros((1, 5, 6)), 0.0, 0.4)
    hysteresis("equal-thresholds", [t.rng.random((11, 8))], 0.5, 0.5)
    path = spiral(23) * 0.5
    path[0, 0] = 1.0
    hysteresis("spiral-strong-at-its-outer-end", [path], 0.0, 0.9)


shapes()
thresholds()
t.write()
