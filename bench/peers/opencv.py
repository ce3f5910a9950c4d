#!/usr/bin/env python3
"""OpenCV on the geometry that `fovea bench` times, at the same sizes: what a processor gives without a driver between.

    /usr/bin/python3 bench/peers/opencv.py            a table; --json for JSON, --threads N (default 2)

Needs Debian's python3-opencv. Names are those of bench/geometry.ts; fovea's are for all images of a batch, so these are,
too. OpenCV's positions have 5 fractional bits (warpAffine, remap), fovea's are float32: the same work, not the same digits.
"""
import argparse
import json
import time

import cv2
import numpy as np

N, SIDE = 8, 256
LINEAR, NEAREST = cv2.INTER_LINEAR, cv2.INTER_NEAREST


def waves(*shape):
    return np.sin(0.37 * np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


def least_ms(call, batch_ms=40, rounds=7):
    """The least of several rounds, each of as many calls as take `batch_ms`."""
    call()
    start = time.perf_counter()
    call()
    count = max(1, int(batch_ms / 1e3 / max(1e-6, time.perf_counter() - start)))
    best = float('inf')
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return 1e3 * best


def cases():
    label = f'{N}×1×{SIDE}×{SIDE}'
    images, small = waves(N, SIDE, SIDE), waves(N, 128, 128)
    size, center, radius = (SIDE, SIDE), (127, 127), float(np.hypot(SIDE / 2, SIDE / 2))
    matrix = np.float32([[0.95, -0.2, 12], [0.2, 0.95, -7]])
    v, u = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    map_x, map_y = 0.9 * u - 0.2 * v, 0.2 * u + 0.9 * v
    left, top, width, height = 20, 30, 180, 160
    colours, masks = waves(N, SIDE, SIDE, 3), waves(N, SIDE, SIDE)
    binary = (images > 0.5).astype(np.uint8)
    pasted = np.zeros((N, SIDE, SIDE), np.float32)

    def paste():
        for image, crop in zip(pasted, small):
            image.fill(0)
            cv2.resize(crop, (width, height), image[top : top + height, left : left + width], interpolation=LINEAR)

    def augment():
        for image, mask in zip(colours, masks):
            for one, how, border in ((image, LINEAR, cv2.BORDER_REPLICATE), (mask, NEAREST, cv2.BORDER_CONSTANT)):
                one = cv2.warpAffine(one, matrix, size, flags=how | cv2.WARP_INVERSE_MAP, borderMode=border)
                cv2.remap(one, map_x, map_y, how, borderMode=border)

    def each(f, of=images):
        return lambda: [f(x) for x in of]

    return {
        f'polarWarp {label}': each(lambda x: cv2.warpPolar(x, size, center, radius, LINEAR)),
        f'inversePolarWarp {label}': each(
            lambda x: cv2.warpPolar(x, size, center, radius, LINEAR | cv2.WARP_INVERSE_MAP)
        ),
        f'cropResize {label}': each(
            lambda x: cv2.resize(x[top : top + height, left : left + width], size, interpolation=LINEAR)
        ),
        f'affineWarp {label}': each(
            lambda x: cv2.warpAffine(
                x, matrix, size, flags=LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
            )
        ),
        f'gridSample {label}': each(lambda x: cv2.remap(x, map_x, map_y, LINEAR)),
        f'augmentation {N}×3×{SIDE}×{SIDE} and mask': augment,
        f'interpolate ×2 bilinear {N}×1×128×128': each(lambda x: cv2.resize(x, size, interpolation=LINEAR), small),
        f'interpolate ÷2 bilinear {label}': each(lambda x: cv2.resize(x, (128, 128), interpolation=LINEAR)),
        f'interpolate ×2 nearest {N}×1×128×128': each(lambda x: cv2.resize(x, size, interpolation=NEAREST), small),
        f'pasteBoxes 8 of 128² on {label}': paste,
        f'connectedComponents {label}': each(lambda x: cv2.connectedComponentsWithStats(x, connectivity=4), binary),
    }


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    rows = [{'name': name, 'min': float(f'{least_ms(call):.4g}')} for name, call in cases().items()]
    if options.json:
        report = {'peer': 'opencv', 'version': cv2.__version__, 'threads': options.threads, 'kernels': rows}
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print(f'OpenCV {cv2.__version__}, {options.threads} threads: least ms')
        for row in rows:
            print(f"{row['name']:50}{row['min']:9.3f}")
