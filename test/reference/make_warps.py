"""Warps, crops and centres: exact bilinear values in float64 (PyTorch's grid_sample, checked against
SciPy's map_coordinates) and, beside them, OpenCV's own. Writes warps.json and warps.safetensors.

    /usr/bin/python3 test/reference/make_warps.py

OpenCV rounds sampling positions to 1/32 px, so its arrays (`yOpenCV`) differ from the exact ones by up
to `openCVMaxDifference`, which each case states.
"""
import math

import cv2
import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
import torchvision.ops

from reference_files import Table

torch.set_num_threads(1)
cv2.setNumThreads(1)
t = Table("warps", seed=42)

SCIPY_MODE = {"zeros": "grid-constant", "border": "nearest", "reflection": "reflect"}
OPENCV_BORDER = {"zeros": cv2.BORDER_CONSTANT, "border": cv2.BORDER_REPLICATE, "reflection": cv2.BORDER_REFLECT}
OPENCV_MODE = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}


def sample(image, px, py, mode="bilinear", padding="zeros"):
    """image (N, C, H, W) at pixel positions px, py (N, h, w); pixel centres are integers.

    Reflection mirrors at the image's edges, −0.5 and W − 0.5 (OpenCV's BORDER_REFLECT).
    """
    n, c, h, w = image.shape
    px, py = px.expand(n, *px.shape[1:]), py.expand(n, *py.shape[1:])
    grid = torch.stack([(2 * px + 1) / w - 1, (2 * py + 1) / h - 1], -1)
    out = F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=False)
    with torch.no_grad():  # an independent implementation agrees
        for i in range(n):
            for k in range(c):
                at = np.stack([py[i].numpy(), px[i].numpy()])
                order = 1 if mode == "bilinear" else 0
                other = scipy.ndimage.map_coordinates(image[i, k].numpy(), at, order=order, mode=SCIPY_MODE[padding])
                assert np.abs(out[i, k].numpy() - other).max() < 1e-9
    return out


def distance_to(values, *fractions):
    """The smallest distance of any value's fraction to one of `fractions`."""
    f = np.asarray(values) % 1
    return min(np.minimum(np.abs(f - q), 1 - np.abs(f - q)).min() for q in fractions)


def opencv_outputs(case, x, warp):
    """warp(plane, n) of every image and channel by OpenCV, kept as yOpenCV with its greatest difference."""
    y = np.stack([np.stack([warp(np.ascontiguousarray(plane), n) for plane in image]) for n, image in enumerate(x)])
    t.keep(case, "yOpenCV", y.astype(np.float32))
    difference = float(np.abs(y - t.arrays[f"{case['name']}/y"]).max())
    case["openCVMaxDifference"] = float(f"{difference:.2g}")


def smooth(n, c, h, w):
    """A few Gaussian blobs in [0, 1]."""
    v, u = np.mgrid[:h, :w]
    image = np.zeros((n, c, h, w))
    for i in range(n):
        for k in range(c):
            for _ in range(3):
                cx, cy, s = t.rng.uniform(0, w), t.rng.uniform(0, h), t.rng.uniform(0.15, 0.4) * min(h, w)
                image[i, k] += np.exp(-((u - cx) ** 2 + (v - cy) ** 2) / (2 * s * s)) / 2
    return image.astype(np.float32)


def half_diagonal(h, w):
    return math.hypot(h / 2, w / 2)


# --- polar -------------------------------------------------------------------------------------


def polar_positions(center, angles, radii, max_radius):
    """Row i is the angle 2π·i/angles, column j the radius maxRadius·j/radii."""
    theta = 2 * math.pi * torch.arange(angles, dtype=torch.float64)[None, :, None] / angles
    radius = max_radius * torch.arange(radii, dtype=torch.float64)[None, None, :] / radii
    cx, cy = center[:, 0, None, None], center[:, 1, None, None]
    return cx + radius * torch.cos(theta), cy + radius * torch.sin(theta)


def polar_warp(x, center, angles, radii, max_radius, layout):
    y = sample(x, *polar_positions(center, angles, radii, max_radius))
    return torch.rot90(y, 1, (2, 3)) if layout == "radius-up" else y


def inverse_positions(center, height, width, angles, radii, max_radius):
    """(column, row) of each output pixel in the polar image with angles down."""
    dx = torch.arange(width, dtype=torch.float64)[None, None, :] - center[:, 0, None, None]
    dy = torch.arange(height, dtype=torch.float64)[None, :, None] - center[:, 1, None, None]
    theta = torch.remainder(torch.atan2(dy, dx), 2 * math.pi)
    return torch.sqrt(dx * dx + dy * dy) * radii / max_radius, theta * angles / (2 * math.pi)


def inverse_polar_warp(x, center, height, width, max_radius, layout):
    if layout == "radius-up":
        x = torch.rot90(x, -1, (2, 3))
    angles, radii = x.shape[2:]
    wrapped = torch.cat([x, x[:, :, :1]], 2)  # the row after the last angle is the first
    return sample(wrapped, *inverse_positions(center, height, width, angles, radii, max_radius))


def draw_center(draw, positions):
    """A centre per image, redrawn until every position keeps 1e-3 px away from the kinks at pixel centres."""
    while True:
        center = draw().astype(np.float32)
        px, py = positions(torch.tensor(center.astype(np.float64)))
        if distance_to(px, 0) > 1e-3 and distance_to(py, 0) > 1e-3:
            return center


def polar_cases():
    def case(name, x, center, angles, radii, max_radius, layout, grads=("x",)):
        attrs = {"angles": angles, "radii": radii, "maxRadius": max_radius, "layout": layout}
        added = t.add(f"polarWarp/{name}-{layout}", "polarWarp",
                      lambda x, center: polar_warp(x, center, angles, radii, max_radius, layout),
                      {"x": x, "center": center}, attrs, grads=grads)

        def warp(plane, n):
            flags = cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS | cv2.WARP_POLAR_LINEAR
            y = cv2.warpPolar(plane, (radii, angles), tuple(map(float, center[n])), max_radius, flags)
            return np.rot90(y) if layout == "radius-up" else y
        opencv_outputs(added, x, warp)

    for layout in ("angles-down", "radius-up"):
        h, w = 13, 17
        r = half_diagonal(h, w)
        case("integer-center", smooth(1, 2, h, w), np.array([[8, 6]], np.float32), h, w, r, layout)
        case("image-centers-half-pixel", smooth(2, 1, 12, 10), np.array([[4.5, 5.5], [4.5, 5.5]], np.float32), 12, 10, half_diagonal(12, 10), layout)
        center = draw_center(lambda: t.rng.uniform([3, 3], [13, 10], (2, 2)), lambda c: polar_positions(c, h, w, r))
        case("fractional-centers", t.normal(2, 3, h, w), center, h, w, r, layout, ("x", "center"))
        center = draw_center(lambda: t.rng.uniform([0, 0], [1, 1], (1, 2)), lambda c: polar_positions(c, 11, 7, 6.5))
        case("corner-other-size", t.normal(1, 1, h, w), center, 11, 7, 6.5, layout, ("x", "center"))
        center = draw_center(lambda: t.rng.uniform([[-4, 3], [9, 14]], [[-2, 8], [16, 17]], (2, 2)), lambda c: polar_positions(c, 9, 13, 12.0))
        case("off-image-centers", smooth(2, 1, h, w), center, 9, 13, 12.0, layout, ("x", "center"))
        case("far-off-image-is-zero", t.normal(1, 1, 5, 6), np.array([[60.25, -40.75]], np.float32), 7, 5, 4.0, layout)
        center = draw_center(lambda: t.rng.uniform(2, 4, (3, 2)), lambda c: polar_positions(c, 31, 2, 5.0))
        case("many-angles-two-radii", t.normal(3, 1, 7, 6), center, 31, 2, 5.0, layout, ("x", "center"))
    disc = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 9
    case("centred-disc", disc[None, None].astype(np.float32), np.array([[15.5, 15.5]], np.float32), 32, 32, half_diagonal(32, 32), "radius-up")

    def inverse(name, x, center, height, width, max_radius, layout, grads=("x",)):
        """x has its angles down here and is turned into `layout`."""
        turned = np.ascontiguousarray(np.rot90(x, 1, (2, 3))) if layout == "radius-up" else x
        attrs = {"height": height, "width": width, "maxRadius": max_radius, "layout": layout}
        added = t.add(f"inversePolarWarp/{name}-{layout}", "inversePolarWarp",
                      lambda x, center: inverse_polar_warp(x, center, height, width, max_radius, layout),
                      {"x": turned, "center": center}, attrs, grads=grads)

        def warp(plane, n):
            flags = cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS | cv2.WARP_POLAR_LINEAR | cv2.WARP_INVERSE_MAP
            return cv2.warpPolar(plane, (width, height), tuple(map(float, center[n])), max_radius, flags)
        opencv_outputs(added, x, warp)

    for layout in ("angles-down", "radius-up"):
        h, w = 9, 11
        r = half_diagonal(h, w)
        inverse("integer-center", smooth(1, 2, 13, 17), np.array([[5, 4]], np.float32), h, w, r, layout)
        center = draw_center(lambda: t.rng.uniform([2, 2], [8, 6], (2, 2)), lambda c: inverse_positions(c, h, w, 13, 17, r))
        inverse("fractional-centers", t.normal(2, 3, 13, 17), center, h, w, r, layout, ("x", "center"))
        center = draw_center(lambda: t.rng.uniform(3, 5, (1, 2)), lambda c: inverse_positions(c, h, w, 12, 5, 3.5))
        inverse("small-max-radius-zero-beyond", t.normal(1, 1, 12, 5) + np.float32(4), center, h, w, 3.5, layout, ("x", "center"))
        center = draw_center(lambda: t.rng.uniform([[-4, 3], [9, 10]], [[-2, 8], [14, 13]], (2, 2)), lambda c: inverse_positions(c, h, w, 10, 14, 14.0))
        inverse("off-image-centers", t.normal(2, 1, 10, 14), center, h, w, 14.0, layout, ("x", "center"))
        seam = np.zeros((1, 1, 8, 16), np.float32)
        seam[:, :, 0], seam[:, :, -1] = 1, 3  # the first and the last angle meet along +x
        center = draw_center(lambda: t.rng.uniform(3, 5, (1, 2)), lambda c: inverse_positions(c, 9, 9, 8, 16, 8.0))
        inverse("angle-seam", seam, center, 9, 9, 8.0, layout, ("x", "center"))
        center = draw_center(lambda: t.rng.uniform(1, 3, (2, 2)), lambda c: inverse_positions(c, 4, 5, 1, 6, 5.0))
        inverse("one-angle", t.normal(2, 1, 1, 6), center, 4, 5, 5.0, layout, ("x", "center"))


# --- crops -------------------------------------------------------------------------------------


def crop_positions(boxes, height, width):
    left, top, w, h = (boxes[:, k, None, None] for k in range(4))
    j = torch.arange(width, dtype=torch.float64)[None, None, :]
    i = torch.arange(height, dtype=torch.float64)[None, :, None]
    px, py = left + (j + 0.5) * w / width - 0.5, top + (i + 0.5) * h / height - 0.5
    return px.expand(-1, height, width), py.expand(-1, height, width)


def crop_cases():
    def case(name, x, boxes, size, mode="bilinear", images=None):
        boxes = np.array(boxes, np.float32)
        px, py = crop_positions(torch.tensor(boxes, dtype=torch.float64), *size)
        if mode == "nearest":
            assert distance_to(px, 0.5) > 1e-3 and distance_to(py, 0.5) > 1e-3, name
        inputs = {"x": x, "boxes": boxes}
        if images is not None:
            inputs["images"] = np.array(images, np.int32)

        def crop(x, boxes, images=None):
            source = x if images is None else x[images]
            y = sample(source, px, py, mode, "border")
            inside = (boxes[:, :2] >= 0).all() and (boxes[:, 0] + boxes[:, 2] <= x.shape[3] - 1).all() and (boxes[:, 1] + boxes[:, 3] <= x.shape[2] - 1).all()
            if mode == "bilinear" and inside:
                corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
                rois = [corners[i : i + 1] for i in range(len(corners))]
                other = torchvision.ops.roi_align(source, rois, size, sampling_ratio=1, aligned=True)
                assert torch.abs(y - other).max() < 1e-9, name
            return y
        return t.add(f"cropResize/{name}", "cropResize", crop, inputs, {"size": list(size), "mode": mode}, grads=("x",))

    case("up", t.normal(2, 3, 9, 11), [[2, 1, 4, 5], [5, 3, 5, 4]], (8, 7))
    case("down", t.normal(2, 2, 17, 19), [[1, 2, 15, 13], [3, 1, 14, 14]], (5, 4))
    case("same-size", t.normal(1, 3, 8, 9), [[2, 1, 5, 4]], (4, 5))
    case("fractional-boxes", t.normal(2, 1, 9, 11), [[1.3, 2.6, 4.7, 3.1], [4.45, 0.8, 3.35, 5.9]], (6, 7))
    case("over-the-border", t.normal(3, 2, 7, 8), [[-3, -2, 6, 5], [5, 4, 6, 7], [-2, -3, 12, 13]], (6, 5))
    case("one-pixel-box", t.normal(1, 2, 5, 6), [[3, 2, 1, 1]], (4, 3))
    case("to-1x1", t.normal(2, 3, 6, 7), [[1, 1, 4, 3], [0, 0, 7, 6]], (1, 1))
    case("many-boxes-of-two-images", t.normal(2, 2, 9, 10), [[1, 1, 5, 4], [3, 2, 4, 6], [0, 0, 10, 9], [6, 5, 3, 3], [2.5, 1.5, 4, 4]],
         (5, 4), images=[0, 1, 1, 0, 1])
    x = t.normal(2, 3, 7, 10)
    for name, size in (("up", (11, 13)), ("down", (4, 3))):
        whole = case(f"whole-image-{name}", x, [[0, 0, 10, 7]] * 2, size)
        resized = F.interpolate(torch.tensor(x.astype(np.float64)), size=size, mode="bilinear", align_corners=False)
        assert np.abs(resized.numpy() - t.arrays[f"{whole['name']}/y"]).max() < 1e-6
    whole = case("nearest-whole-image", x, [[0, 0, 10, 7]] * 2, (11, 16), "nearest")
    resized = F.interpolate(torch.tensor(x), size=(11, 16), mode="nearest-exact")
    assert np.array_equal(resized.numpy(), t.arrays[f"{whole['name']}/y"])
    case("nearest-up", t.normal(2, 2, 9, 11), [[2, 1, 4, 5], [5, 3, 5, 4]], (12, 8), "nearest")
    case("nearest-down", t.normal(1, 1, 17, 19), [[1, 2, 15, 13]], (5, 3), "nearest")
    case("nearest-over-the-border", t.normal(2, 1, 7, 8), [[-3, -2, 6, 5], [4.3, 3.2, 6.1, 7.4]], (4, 8), "nearest")


# --- affine and grid ---------------------------------------------------------------------------


def affine_positions(matrix, height, width):
    """Output pixel (x, y) takes the input at matrix · (x, y, 1): OpenCV's WARP_INVERSE_MAP."""
    v, u = torch.meshgrid(torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij")
    m = matrix[:, :, :, None, None]
    return m[:, 0, 0] * u + m[:, 0, 1] * v + m[:, 0, 2], m[:, 1, 0] * u + m[:, 1, 1] * v + m[:, 1, 2]


def rotation(degrees, scale, cx, cy, dx=0.0, dy=0.0):
    c, s = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    return [[c, -s, cx - c * cx + s * cy + dx], [s, c, cy - s * cx - c * cy + dy]]


def affine_cases():
    def case(name, x, matrices, size, mode="bilinear", padding="zeros", matrix_grad=True):
        matrix = np.array(matrices, np.float32)
        while True:
            px, py = affine_positions(torch.tensor(matrix.astype(np.float64)), *size)
            fractions = (0.5,) if mode == "nearest" else (0, 0.5) if padding == "reflection" else (0,)
            if not matrix_grad or distance_to(px, *fractions) > 1e-3 and distance_to(py, *fractions) > 1e-3:
                break
            matrix = np.array(matrices, np.float32)
            matrix[:, :, 2] += t.rng.uniform(-0.3, 0.3, matrix.shape[:2])
        attrs = {"size": list(size), "mode": mode, "paddingMode": padding}
        added = t.add(f"affineWarp/{name}", "affineWarp",
                      lambda x, matrix: sample(x, *affine_positions(matrix, *size), mode, padding),
                      {"x": x, "matrix": matrix}, attrs, grads=("x",),
                      more_grads=("matrix",) if matrix_grad and mode == "bilinear" else ())

        def warp(plane, n):
            flags = OPENCV_MODE[mode] | cv2.WARP_INVERSE_MAP
            return cv2.warpAffine(plane, matrix[n].astype(np.float64), size[::-1], flags=flags, borderMode=OPENCV_BORDER[padding])
        opencv_outputs(added, x, warp)

    for padding in ("zeros", "border", "reflection"):
        two = [rotation(30, 0.8, 4, 3, 0.3, 0.2), rotation(-75, 1.2, 4, 3, -1.1, 2.2)]
        case(f"rotate-scale-{padding}", t.normal(2, 3, 7, 9), two, (7, 9), padding=padding)
        case(f"far-{padding}", t.normal(1, 1, 5, 4), [rotation(15, 0.3, 2, 2)], (6, 7), padding=padding)
        case(f"nearest-{padding}", t.normal(2, 1, 7, 9), two, (7, 9), mode="nearest", padding=padding)
    case("identity", t.normal(1, 2, 5, 6), [[[1, 0, 0], [0, 1, 0]]], (5, 6), matrix_grad=False)
    case("horizontal-flip", t.normal(1, 2, 5, 6), [[[-1, 0, 5], [0, 1, 0]]], (5, 6), matrix_grad=False)
    case("whole-pixel-shift", t.normal(1, 2, 5, 6), [[[1, 0, 2], [0, 1, -1]]], (5, 6), matrix_grad=False)
    case("shear-other-size", t.normal(2, 1, 8, 6), [[[0.7, 0.31, 0.4], [-0.2, 1.1, 0.6]]] * 2, (5, 11))
    case("nearest-identity", t.normal(1, 1, 5, 6), [[[1, 0, 0], [0, 1, 0]]], (5, 6), mode="nearest")


def grid_positions(displacement, height, width):
    """displacement (N, 2, h, w) in pixels, channel 0 along x, 1 along y; corners of the grid on corner pixels."""
    fine = F.interpolate(displacement, size=(height, width), mode="bilinear", align_corners=True)
    u, v = torch.arange(width, dtype=torch.float64), torch.arange(height, dtype=torch.float64)[:, None]
    return u + fine[:, 0], v + fine[:, 1]


def grid_cases():
    def case(name, x, grid, spread, mode="bilinear", padding="zeros"):
        n, _, h, w = x.shape
        while True:
            displacement = t.normal(n, 2, *grid, scale=spread)
            px, py = grid_positions(torch.tensor(displacement.astype(np.float64)), h, w)
            fractions = (0.5,) if mode == "nearest" else (0, 0.5) if padding == "reflection" else (0,)
            if distance_to(px, *fractions) > 1e-3 and distance_to(py, *fractions) > 1e-3:
                break
        added = t.add(f"gridWarp/{name}", "gridWarp",
                      lambda x, displacement: sample(x, *grid_positions(displacement, h, w), mode, padding),
                      {"x": x, "displacement": displacement}, {"mode": mode, "paddingMode": padding}, grads=("x",),
                      more_grads=("displacement",) if mode == "bilinear" else ())

        def warp(plane, i):
            maps = px[i].numpy().astype(np.float32), py[i].numpy().astype(np.float32)
            return cv2.remap(plane, *maps, OPENCV_MODE[mode], borderMode=OPENCV_BORDER[padding])
        opencv_outputs(added, x, warp)

    for padding in ("zeros", "border", "reflection"):
        case(f"4x3-{padding}", t.normal(2, 2, 7, 9), (4, 3), 1.5, padding=padding)
        case(f"nearest-{padding}", t.normal(2, 1, 7, 9), (3, 5), 1.5, mode="nearest", padding=padding)
    case("1x1-is-a-shift", t.normal(2, 3, 5, 6), (1, 1), 1.0)
    case("2x2", t.normal(1, 1, 8, 5), (2, 2), 2.0, padding="border")
    case("as-fine-as-the-image", t.normal(1, 2, 5, 6), (5, 6), 0.8, padding="reflection")


# --- centres -----------------------------------------------------------------------------------


def center_cases():
    def center_of_mass(x):
        n, _, h, w = x.shape
        u, v = torch.arange(w, dtype=torch.float64), torch.arange(h, dtype=torch.float64)[:, None]
        mass = x.sum((1, 2, 3))
        safe = torch.where(mass == 0, torch.ones_like(mass), mass)
        moments = torch.stack([(x * u).sum((1, 2, 3)), (x * v).sum((1, 2, 3))], 1)
        middle = torch.tensor([(w - 1) / 2, (h - 1) / 2], dtype=torch.float64)
        center = torch.where((mass == 0)[:, None], middle.expand(n, 2), moments / safe[:, None])
        for i in range(n):
            if mass[i] != 0:
                assert np.allclose(scipy.ndimage.center_of_mass(x[i, 0].detach().numpy())[::-1], center[i].detach().numpy())
        return center

    def mass(name, x):
        t.add(f"centerOfMass/{name}", "centerOfMass", center_of_mass, {"x": x.astype(np.float32)}, grads=("x",))
    mass("soft", t.uniform(3, 1, 7, 9))
    mass("mask", t.rng.random((2, 1, 11, 6)) < 0.3)
    mass("full", np.ones((1, 1, 5, 8)))
    one = np.zeros((2, 1, 5, 8))
    one[0, 0, 4, 7], one[1, 0, 0, 3] = 1, 0.25
    mass("one-pixel", one)
    some = t.uniform(3, 1, 6, 9)
    some[1] = 0
    mass("one-empty-image", some)
    mass("all-empty", np.zeros((2, 1, 4, 7)))
    mass("one-by-one", np.ones((1, 1, 1, 1)))

    def heatmap(name, centers, size, sigma):
        def fn(centers):
            u, v = torch.arange(size[1], dtype=torch.float64), torch.arange(size[0], dtype=torch.float64)[:, None]
            c = centers[:, :, None, None]
            return torch.exp(-((u - c[:, :1]) ** 2 + (v - c[:, 1:]) ** 2) / (2 * sigma**2))
        t.add(f"gaussianHeatmap/{name}", "gaussianHeatmap", fn, {"centers": np.array(centers, np.float32)},
              {"size": list(size), "sigma": sigma}, more_grads=("centers",))
    heatmap("whole-pixels", [[4, 3], [0, 0], [10, 6]], (7, 11), 2)
    heatmap("fractional", [[4.3, 2.75], [8.9, 5.1]], (7, 11), 1.5)
    heatmap("off-image", [[-3.5, 2], [15, 9.25]], (7, 11), 4)
    heatmap("narrow", [[4.4, 3.6]], (7, 9), 0.5)
    heatmap("sigma8", [[20.5, 11.25]], (32, 24), 8)

    def argmax(name, x):
        x = x.astype(np.float32)
        rows, cols = np.divmod(x.reshape(len(x), -1).argmax(1), x.shape[3])
        t.add(f"argmax2d/{name}", "argmax2d", lambda x: torch.tensor(np.stack([cols, rows], 1), dtype=torch.float64), {"x": x})
    argmax("normal", t.normal(3, 1, 7, 9))
    argmax("ties-take-the-first-in-raster-order", t.rng.integers(0, 3, (4, 1, 9, 13)))
    argmax("all-equal", np.zeros((2, 1, 5, 6)))
    argmax("all-negative", t.normal(2, 1, 6, 5, offset=-40))
    argmax("large", t.normal(2, 1, 37, 41))
    argmax("row", t.normal(2, 1, 1, 17))


polar_cases()
crop_cases()
affine_cases()
grid_cases()
center_cases()
t.write()
