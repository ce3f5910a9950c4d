"""Values and gradients of the ops from PyTorch (CPU, float64). Writes ops.json and ops.safetensors.

    /usr/bin/python3 test/reference/make_ops.py
"""
import numpy as np
import torch
import torch.nn.functional as F

from reference_files import Table

torch.set_num_threads(1)
t = Table("ops", seed=20210711)


def conv_case(name, x, weight, bias=True, **attrs):
    w = t.normal(*weight, scale=1 / np.sqrt(np.prod(weight[1:])))
    inputs = {"x": t.normal(*x), "weight": w}
    if bias:
        inputs["bias"] = t.normal(weight[0])
    t.add(f"conv2d/{name}", "conv2d", lambda x, weight, bias=None: F.conv2d(x, weight, bias, **attrs),
          inputs, attrs, grads=tuple(inputs))


def conv_cases():
    case = conv_case
    case("1x1", (2, 5, 6, 7), (3, 5, 1, 1))
    case("1x1-stride2", (2, 3, 7, 6), (5, 3, 1, 1), stride=2)
    case("1x1-pixel", (3, 7, 1, 1), (2, 7, 1, 1))
    case("3x3", (2, 3, 8, 9), (5, 3, 3, 3), padding=1)
    case("3x3-no-bias", (1, 4, 7, 5), (8, 4, 3, 3), bias=False, padding=1)
    case("3x3-valid", (2, 2, 5, 11), (3, 2, 3, 3))
    case("3x3-one-channel", (1, 1, 9, 13), (1, 1, 3, 3), padding=1)
    case("3x3-input-1x1", (2, 3, 1, 1), (4, 3, 3, 3), padding=1)
    case("3x3-input-1xW", (2, 3, 1, 17), (4, 3, 3, 3), padding=1)
    case("3x3-padding3", (2, 3, 5, 4), (2, 3, 3, 3), padding=3)
    case("3x3-stride2", (2, 3, 9, 8), (4, 3, 3, 3), stride=2, padding=1)
    case("3x3-stride2-odd-remainder", (1, 3, 8, 10), (4, 3, 3, 3), stride=2)
    case("3x3-stride5", (1, 2, 13, 14), (3, 2, 3, 3), stride=5, padding=1)
    case("3x3-stride2x1-padding0x2", (2, 3, 9, 6), (4, 3, 3, 3), stride=[2, 1], padding=[0, 2])
    case("3x3-stride2-groups2", (2, 4, 7, 9), (6, 2, 3, 3), stride=2, padding=1, groups=2)
    case("3x3-groups3-no-bias", (2, 9, 5, 6), (6, 3, 3, 3), bias=False, padding=1, groups=3)
    case("3x3-dilation2", (2, 3, 9, 8), (4, 3, 3, 3), padding=2, dilation=2)
    case("3x3-dilation3", (1, 2, 11, 7), (3, 2, 3, 3), padding=3, dilation=3)
    case("3x3-dilation12-beyond-input", (1, 3, 6, 7), (2, 3, 3, 3), padding=12, dilation=12)
    case("3x3-dilation2-stride2", (2, 3, 11, 10), (4, 3, 3, 3), stride=2, padding=1, dilation=2)
    case("3x3-dilation3x1-stride1x2", (1, 3, 10, 9), (2, 3, 3, 3), stride=[1, 2], padding=[3, 0], dilation=[3, 1])
    case("3x3-depthwise", (2, 5, 7, 6), (5, 1, 3, 3), padding=1, groups=5)
    case("3x3-depthwise-dilation2", (2, 6, 8, 7), (6, 1, 3, 3), bias=False, padding=2, dilation=2, groups=6)
    case("3x3-depthwise-stride2", (1, 3, 8, 9), (3, 1, 3, 3), stride=2, padding=1, groups=3)
    case("3x3-depthwise-multiplier2", (2, 3, 6, 7), (6, 1, 3, 3), padding=1, groups=3)
    case("7x7-stride2", (2, 3, 16, 15), (4, 3, 7, 7), bias=False, stride=2, padding=3)
    case("5x5", (1, 3, 7, 9), (2, 3, 5, 5), padding=2)
    case("2x2-stride2", (2, 3, 6, 8), (4, 3, 2, 2), stride=2)
    case("2x2-stride2-odd-remainder", (1, 3, 7, 9), (4, 3, 2, 2), stride=2)
    case("1x5-and-padding", (2, 3, 4, 9), (4, 3, 1, 5), padding=[0, 2])
    case("4x1-whole-height", (2, 3, 4, 6), (5, 3, 4, 1))
    case("kernel-whole-input", (3, 2, 5, 4), (7, 2, 5, 4))
    case("17-to-19-channels", (1, 17, 6, 5), (19, 17, 3, 3), padding=1)
    case("32-to-32-channels", (1, 32, 8, 8), (32, 32, 3, 3), bias=False, padding=1)
    case("8-to-16-channels", (2, 8, 10, 12), (16, 8, 3, 3), padding=1)
    case("batch5", (5, 2, 4, 3), (3, 2, 3, 3), padding=1)

    def transpose(name, x, weight, bias=True, output_padding=0, **attrs):
        inputs = {"x": t.normal(*x), "weight": t.normal(*weight, scale=0.5)}
        if bias:
            inputs["bias"] = t.normal(weight[1])
        fovea = dict(attrs, outputPadding=output_padding) if output_padding else attrs
        t.add(f"convTranspose2d/{name}", "convTranspose2d",
              lambda x, weight, bias=None: F.conv_transpose2d(x, weight, bias, output_padding=output_padding, **attrs),
              inputs, fovea, grads=tuple(inputs))

    transpose("2x2-stride2", (2, 6, 4, 5), (6, 3, 2, 2), stride=2)
    transpose("2x2-stride2-no-bias", (1, 4, 3, 7), (4, 4, 2, 2), bias=False, stride=2)
    transpose("2x2-stride2-1x1", (3, 5, 1, 1), (5, 2, 2, 2), stride=2)
    transpose("3x3-stride1", (2, 3, 5, 4), (3, 5, 3, 3), padding=1)
    transpose("3x3-valid", (1, 2, 4, 6), (2, 3, 3, 3))
    transpose("3x3-stride2-output-padding", (2, 3, 4, 5), (3, 4, 3, 3), stride=2, padding=1, output_padding=1)
    transpose("3x3-stride2-output-padding0x1", (1, 3, 5, 3), (3, 2, 3, 3), stride=2, padding=1, output_padding=[0, 1])
    transpose("4x4-stride2-padding1", (2, 3, 3, 4), (3, 2, 4, 4), stride=2, padding=1)
    transpose("2x2-stride3-gaps", (1, 3, 4, 3), (3, 2, 2, 2), stride=3, output_padding=2)
    transpose("3x2-stride3x1-padding0x1", (2, 2, 3, 6), (2, 5, 3, 2), stride=[3, 1], padding=[0, 1])
    transpose("1x1", (2, 5, 3, 4), (5, 3, 1, 1))
    transpose("16-to-8-channels", (2, 16, 4, 4), (16, 8, 2, 2), stride=2)


def pool_cases():
    def maximum(name, x, kernel, stride=None, padding=0, ceil=False, offset=0.0):
        attrs = {"kernelSize": kernel}
        attrs.update({} if stride is None else {"stride": stride})
        attrs.update({"padding": padding} if padding else {})
        attrs.update({"ceilMode": True} if ceil else {})
        t.add(f"maxPool2d/{name}", "maxPool2d", lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil),
              {"x": t.distinct(*x) + np.float32(offset)}, attrs, grads=("x",))

    maximum("2x2", (2, 3, 6, 8), 2)
    maximum("2x2-odd", (2, 3, 7, 5), 2)
    maximum("2x2-odd-ceil", (2, 3, 7, 5), 2, ceil=True)
    maximum("2x2-input-1xW", (1, 2, 2, 9), 2)
    maximum("3x3-stride2-padding1", (2, 3, 9, 8), 3, 2, 1)
    maximum("3x3-stride2-padding1-ceil", (2, 3, 8, 10), 3, 2, 1, ceil=True)
    maximum("3x3-stride1-overlapping", (1, 2, 5, 7), 3, 1)
    maximum("3x3-padding1-all-negative", (2, 2, 6, 5), 3, 2, 1, offset=-10)
    maximum("2x2-stride3-gaps", (2, 3, 8, 10), 2, 3)
    maximum("2x2-stride3-ceil-last-window-outside", (1, 2, 6, 9), 2, 3, ceil=True)
    maximum("3x2-stride1x2-padding1x0", (1, 3, 5, 7), [3, 2], [1, 2], [1, 0])
    maximum("5x5-stride1-padding2", (1, 2, 6, 7), 5, 1, 2)

    def average(name, x, kernel, stride=None, padding=0, ceil=False, count_pad=None):
        attrs = {"kernelSize": kernel}
        attrs.update({} if stride is None else {"stride": stride})
        attrs.update({"padding": padding} if padding else {})
        attrs.update({"ceilMode": True} if ceil else {})
        attrs.update({} if count_pad is None else {"countIncludePad": count_pad})
        include = True if count_pad is None else count_pad
        t.add(f"avgPool2d/{name}", "avgPool2d",
              lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil_mode=ceil, count_include_pad=include),
              {"x": t.normal(*x)}, attrs, grads=("x",))

    average("2x2", (2, 3, 6, 8), 2)
    average("2x2-odd", (2, 3, 7, 5), 2)
    average("2x2-odd-ceil", (2, 3, 7, 5), 2, ceil=True)
    average("3x3-stride2-padding1", (2, 3, 9, 8), 3, 2, 1)
    average("3x3-stride2-padding1-without-pad", (2, 3, 9, 8), 3, 2, 1, count_pad=False)
    average("3x3-stride2-padding1-ceil", (2, 2, 8, 10), 3, 2, 1, ceil=True)
    average("3x3-stride2-padding1-ceil-without-pad", (2, 2, 8, 10), 3, 2, 1, ceil=True, count_pad=False)
    average("3x3-stride1", (1, 2, 5, 7), 3, 1)
    average("2x2-stride3-gaps", (2, 3, 8, 10), 2, 3)
    average("3x2-stride1x2-padding1x0", (1, 3, 5, 7), [3, 2], [1, 2], [1, 0])
    average("whole-image", (2, 5, 4, 6), [4, 6])

    def adaptive(name, x, size):
        t.add(f"adaptiveAvgPool2d/{name}", "adaptiveAvgPool2d", lambda x: F.adaptive_avg_pool2d(x, size),
              {"x": t.normal(*x)}, {"outputSize": size}, grads=("x",))

    adaptive("to-1x1", (2, 5, 7, 6), 1)
    adaptive("dividing", (2, 3, 6, 8), [3, 4])
    adaptive("not-dividing", (2, 3, 7, 11), [3, 4])
    adaptive("not-dividing-overlapping", (1, 2, 5, 7), [4, 5])
    adaptive("same-size", (1, 2, 3, 5), [3, 5])
    adaptive("upwards", (1, 3, 2, 3), [5, 7])
    adaptive("from-1x1", (2, 3, 1, 1), [3, 2])


def interpolate_cases():
    def nearest(name, x, size):
        def fn(x):
            y = F.interpolate(x, size=size, mode="nearest")
            rows = [i * x.shape[2] // size[0] for i in range(size[0])]  # PyTorch scales in float; the rule is exact
            cols = [j * x.shape[3] // size[1] for j in range(size[1])]
            assert torch.equal(y, x[:, :, rows][:, :, :, cols]), name
            return y
        t.add(f"interpolate/nearest-{name}", "interpolate", fn, {"x": t.normal(*x)},
              {"size": list(size), "mode": "nearest"}, grads=("x",))

    nearest("up2", (2, 3, 4, 5), (8, 10))
    nearest("up-not-dividing", (2, 2, 3, 5), (7, 11))
    nearest("down2", (1, 3, 8, 6), (4, 3))
    nearest("down-not-dividing", (1, 3, 11, 13), (4, 5))
    nearest("to-1x1", (2, 3, 5, 4), (1, 1))
    nearest("from-1x1", (2, 3, 1, 1), (3, 4))
    nearest("up-and-down", (1, 2, 4, 9), (7, 5))

    def bilinear(name, x, size):
        for align in (False, True):
            t.add(f"interpolate/bilinear-{name}-{'corners' if align else 'half-pixel'}", "interpolate",
                  lambda x: F.interpolate(x, size=size, mode="bilinear", align_corners=align), {"x": t.normal(*x)},
                  {"size": list(size), "mode": "bilinear", "alignCorners": align}, grads=("x",))

    bilinear("up2", (2, 3, 4, 5), (8, 10))
    bilinear("up4", (1, 2, 3, 3), (12, 12))
    bilinear("up-not-dividing", (2, 2, 3, 5), (7, 11))
    bilinear("down2", (1, 3, 8, 6), (4, 3))
    bilinear("down-not-dividing", (1, 3, 11, 13), (4, 5))
    bilinear("same-size", (1, 2, 4, 3), (4, 3))
    bilinear("to-1x1", (2, 3, 5, 4), (1, 1))
    bilinear("from-1x1", (2, 3, 1, 1), (3, 4))
    bilinear("from-1xW", (1, 2, 1, 5), (3, 8))
    bilinear("up-and-down", (1, 2, 4, 9), (7, 5))


def batch_norm_cases():
    def case(name, x, training, affine=True, running=True, momentum=0.1, eps=1e-5):
        c = x.shape[1]
        inputs = {"x": x}
        if affine:
            inputs.update(weight=t.normal(c, scale=0.5, offset=1), bias=t.normal(c))
        grads = tuple(inputs)
        if running:
            inputs.update(runningMean=t.normal(c), runningVar=t.uniform(c, low=0.3, high=2))

        def fn(x, *rest):
            weight, bias = rest[:2] if affine else (None, None)
            mean, var = (r.clone() for r in rest[-2:]) if running else (None, None)
            y = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
            return (y, mean, var) if running and training else y

        t.add(f"batchNorm/{name}", "batchNorm", fn, inputs, {"training": training, "momentum": momentum, "eps": eps},
              grads=grads, outputs=("y", "runningMeanAfter", "runningVarAfter") if running and training else ("y",))

    case("training", t.normal(2, 3, 5, 7), True)
    case("training-batch1", t.normal(1, 5, 6, 4), True)
    case("training-no-affine", t.normal(3, 2, 4, 5), True, affine=False)
    case("training-no-running-statistics", t.normal(2, 4, 3, 5), True, running=False)
    case("training-momentum0.3-eps1e-3", t.normal(2, 3, 4, 4), True, momentum=0.3, eps=1e-3)
    case("training-one-spatial-element", t.normal(5, 3, 1, 1), True)
    case("training-two-values-a-channel", t.normal(2, 3, 1, 1), True)
    case("training-offset100", t.normal(2, 3, 6, 7, offset=100), True)
    constant = t.normal(2, 3, 4, 4)
    constant[:, 1] = 0.5
    case("training-constant-channel", constant, True)
    case("evaluation", t.normal(2, 3, 5, 7), False)
    case("evaluation-no-affine", t.normal(2, 5, 3, 4), False, affine=False)
    case("evaluation-one-spatial-element", t.normal(1, 7, 1, 1), False)


def grid_sample_cases():
    def pixel_points(n, h, w, size, far):
        """Pixel coordinates whose fraction keeps away from 0 (bilinear's kink) and 0.5 (nearest's tie)."""
        def axis(count):
            low, high = (-far * count - 1, (1 + far) * count + 1) if far else (0, max(count - 1, 1))
            whole = t.rng.integers(np.floor(low), np.ceil(high), (n, h, w))
            return whole + t.rng.choice([0.0, 0.5], (n, h, w)) + t.rng.uniform(0.1, 0.4, (n, h, w))
        return np.stack([axis(size[1]), axis(size[0])], -1)

    def case(name, x, out, mode, padding, align, far=1.2, grid=None):
        n, _, h, w = x
        if grid is None:
            pixels = pixel_points(n, *out, (h, w), far)
            size = np.array([w, h])
            grid = (2 * pixels / np.maximum(size - 1, 1) - 1 if align else (2 * pixels + 1) / size - 1)
            grid = grid.astype(np.float32)
        t.add(f"gridSample/{name}", "gridSample",
              lambda x, grid: F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=align),
              {"x": t.normal(*x), "grid": grid}, {"mode": mode, "paddingMode": padding, "alignCorners": align},
              grads=("x", "grid") if mode == "bilinear" else ("x",))

    for mode in ("bilinear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            for align in (False, True):
                case(f"{mode}-{padding}-{'corners' if align else 'half-pixel'}", (2, 3, 5, 7), (4, 6), mode, padding, align)
    case("bilinear-inside", (1, 5, 6, 4), (3, 11), "bilinear", "zeros", False, far=0)
    case("bilinear-reflection-far", (1, 2, 3, 4), (5, 5), "bilinear", "reflection", False, far=5)
    case("bilinear-image-1xW-zeros", (2, 2, 1, 6), (3, 4), "bilinear", "zeros", False)
    case("bilinear-image-1xW-border", (2, 2, 1, 6), (3, 4), "bilinear", "border", False)
    case("bilinear-output-1x1", (3, 2, 4, 5), (1, 1), "bilinear", "zeros", True)
    identity = F.affine_grid(torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]), (1, 2, 5, 4), align_corners=False).numpy()
    x = t.normal(1, 2, 5, 4)
    t.add("gridSample/bilinear-identity", "gridSample",
          lambda x, grid: F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False),
          {"x": x, "grid": identity}, {"mode": "bilinear", "paddingMode": "zeros", "alignCorners": False}, grads=("x",))


def elementwise_cases():
    shape = (2, 3, 5, 7)
    away = t.normal(*shape)
    away[np.abs(away) < 0.01] = 0.5
    unary = {
        "neg": (torch.neg, t.normal(*shape)),
        "abs": (torch.abs, away),
        "relu": (torch.relu, away),
        "sigmoid": (torch.sigmoid, t.normal(*shape, scale=3)),
        "exp": (torch.exp, t.normal(*shape, scale=2)),
        "log": (torch.log, t.uniform(*shape, low=0.05, high=5)),
        "sqrt": (torch.sqrt, t.uniform(*shape, low=0.05, high=5)),
        "tanh": (torch.tanh, t.normal(*shape, scale=2)),
    }
    for op, (fn, x) in unary.items():
        t.add(f"{op}/4d", op, fn, {"x": x}, grads=("x",))
    for op, fn in {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}.items():
        t.add(f"{op}/vector-17", op, fn, {"x": t.normal(17)}, grads=("x",))
        t.add(f"{op}/one-element", op, fn, {"x": t.normal(1)}, grads=("x",))
    edges = np.array([-200, -100, -88, -30, -1e-3, -1e-6, 1e-6, 1e-3, 30, 88, 100, 200], np.float32)
    for op, fn in {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}.items():
        t.add(f"{op}/saturated", op, fn, {"x": edges}, grads=("x",))
    t.add("relu/zero-has-gradient-0", "relu", torch.relu, {"x": np.zeros(3, np.float32)}, grads=("x",))
    t.add("exp/wide", "exp", torch.exp, {"x": np.array([-200, -80, -10, 0, 10, 80], np.float32)}, grads=("x",))
    t.add("log/wide", "log", torch.log, {"x": np.array([1e-30, 1e-6, 0.999, 1, 1.001, 1e6, 1e30], np.float32)}, grads=("x",))
    t.add("sqrt/wide", "sqrt", torch.sqrt, {"x": np.array([1e-30, 1e-6, 1, 2, 1e6, 1e30], np.float32)}, grads=("x",))
    t.add("sqrt/zero", "sqrt", torch.sqrt, {"x": np.zeros(2, np.float32)})
    for exponent in (2, 3, 0.5, -1, 1.7):
        t.add(f"pow/{exponent}", "pow", lambda x: x ** exponent, {"x": t.uniform(2, 3, 5, low=0.2, high=2)},
              {"exponent": exponent}, grads=("x",))
    for exponent in (2, 3):
        t.add(f"pow/{exponent}-negative-base", "pow", lambda x: x ** exponent, {"x": t.normal(7)},
              {"exponent": exponent}, grads=("x",))

    shapes = {
        "same-shape": ((2, 3, 5, 7), (2, 3, 5, 7)),
        "channel": ((2, 3, 5, 7), (1, 3, 1, 1)),
        "missing-leading-axes": ((2, 3, 5, 7), (5, 7)),
        "one-element": ((3, 5), (1,)),
        "scalar-shape": ((3, 5), ()),
        "both-stretch": ((3, 1, 5), (2, 1, 4, 1)),
        "inner-axis": ((2, 3, 1, 7), (2, 3, 5, 7)),
        "vector-17": ((17,), (17,)),
    }
    arithmetic = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
                  "maximum": torch.maximum, "minimum": torch.minimum}
    for op, fn in arithmetic.items():
        for name, (a, b) in shapes.items():
            left, right = t.normal(*a), t.normal(*b)
            if op == "div":
                right = (np.sign(right) * (np.abs(right) + 0.3)).astype(np.float32)
            if op in ("maximum", "minimum"):
                while np.abs(left - right).min() < 1e-3:  # the gradient jumps at ties
                    left, right = t.normal(*a), t.normal(*b)
            t.add(f"{op}/{name}", op, fn, {"a": left, "b": right}, grads=("a", "b"))
    itself = t.add("mul/with-itself", "mul", lambda a: a * a, {"a": t.normal(2, 3)}, grads=("a",))
    itself["inputs"] = ["a", "a"]

    def compare(op, fn):
        a = t.rng.integers(-2, 3, (2, 3, 4)).astype(np.float32)
        b = t.rng.integers(-2, 3, (3, 1)).astype(np.float32)
        t.add(f"{op}/broadcast-with-equal-values", op, lambda a, b: fn(a, b).float(), {"a": a, "b": b})
    for op in ("gt", "ge", "lt", "le", "eq", "ne"):
        compare(op, getattr(torch, op))

    def where(name, condition, a, b):
        t.add(f"where/{name}", "where", lambda condition, a, b: torch.where(condition != 0, a, b),
              {"condition": (t.rng.random(condition) < 0.5).astype(np.float32), "a": t.normal(*a), "b": t.normal(*b)},
              grads=("a", "b"))
    where("same-shape", (2, 3, 5), (2, 3, 5), (2, 3, 5))
    where("broadcast-values", (2, 3, 5), (1, 3, 1), (5,))
    where("broadcast-condition", (3, 1), (2, 3, 5), (2, 3, 5))


def softmax_cases():
    for axis in (0, 1, 2, 3, -1, -3):
        t.add(f"softmax/axis{axis}", "softmax", lambda x: torch.softmax(x, axis), {"x": t.normal(2, 3, 5, 7)},
              {"axis": axis}, grads=("x",))
    large = t.normal(3, 11, scale=300)
    large[0, :4], large[1, :2] = 1000, (1000, 1000)
    t.add("softmax/large-values", "softmax", lambda x: torch.softmax(x, 1), {"x": large}, {"axis": 1}, grads=("x",))
    t.add("softmax/axis-of-size-1", "softmax", lambda x: torch.softmax(x, 1), {"x": t.normal(3, 1, 2)}, {"axis": 1}, grads=("x",))
    t.add("softmax/axis-of-517", "softmax", lambda x: torch.softmax(x, 1), {"x": t.normal(2, 517, scale=3)}, {"axis": 1}, grads=("x",))


def reduction_cases():
    choices = {
        "axis0": [0], "axis1": [1], "axis3": [3], "last-axis": [-1], "axis-3": [-3], "spatial": [2, 3],
        "batch-and-spatial": [0, 2, 3], "negative-pair": [-1, -2], "outer-pair": [0, 1], "every-axis-named": [0, 1, 2, 3],
    }
    functions = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}
    for op, fn in functions.items():
        draw = t.distinct if op in ("max", "min") else t.normal
        for name, axes in choices.items():
            for keep in (False, True):
                if keep and name not in ("axis1", "spatial", "batch-and-spatial", "every-axis-named"):
                    continue
                attrs = {"axes": axes, "keepDims": True} if keep else {"axes": axes}
                t.add(f"{op}/{name}{'-keep' if keep else ''}", op, lambda x: fn(x, dim=axes, keepdim=keep),
                      {"x": draw(2, 3, 5, 7)}, attrs, grads=("x",))
        every = (lambda x: fn(x)) if op in ("sum", "mean") else (lambda x: fn(x, dim=tuple(range(x.dim()))))
        t.add(f"{op}/all", op, every, {"x": draw(3, 5, 7)}, {}, grads=("x",))
        t.add(f"{op}/vector-1031", op, every, {"x": draw(1031)}, {}, grads=("x",))
        t.add(f"{op}/one-element", op, every, {"x": draw(1)}, {}, grads=("x",))
        t.add(f"{op}/long-outer-axis", op, lambda x: fn(x, dim=[0]), {"x": draw(301, 3)}, {"axes": [0]}, grads=("x",))
        t.add(f"{op}/axis-of-size-1", op, lambda x: fn(x, dim=[1]), {"x": draw(3, 1, 5)}, {"axes": [1]}, grads=("x",))
    t.add("max/all-negative", "max", lambda x: torch.amax(x, dim=[1]), {"x": t.distinct(3, 7) - np.float32(20)}, {"axes": [1]}, grads=("x",))

    def argmax(name, x, axis, keep=False):
        attrs = {"axis": axis, "keepDims": True} if keep else {"axis": axis}
        y = np.argmax(x, axis)  # NumPy promises the first of equal maxima; PyTorch promises none
        y = np.expand_dims(y, axis) if keep else y
        t.add(f"argmax/{name}", "argmax", lambda x: torch.tensor(y), {"x": x}, attrs)
    for axis in (0, 1, 2, -1):
        argmax(f"axis{axis}", t.normal(4, 5, 7), axis)
    argmax("keep", t.normal(4, 5, 7), 1, keep=True)
    argmax("ties-take-the-first", t.rng.integers(0, 3, (5, 19)).astype(np.float32), 1)
    argmax("all-equal", np.full((3, 600), -2, np.float32), 1)
    argmax("all-negative", t.normal(3, 6, offset=-50), 1)


def shape_cases():
    def case(op, name, fn, x, attrs):
        t.add(f"{op}/{name}", op, fn, {"x": t.normal(*x)}, attrs, grads=("x",))

    for name, x, shape in (("flatten", (2, 3, 4, 5), [2, 60]), ("split-axis", (6, 5), [2, 3, 1, 5]), ("to-vector", (3, 7), [21])):
        case("reshape", name, lambda x: x.reshape(shape), x, {"shape": shape})
    case("reshape", "inferred-axis", lambda x: x.reshape(3, -1), (2, 3, 5), {"shape": [3, -1]})

    for x, axes in (((3, 5), [1, 0]), ((2, 3, 5), [2, 0, 1]), ((2, 3, 5, 7), [0, 2, 3, 1]), ((2, 3, 5, 7), [3, 1, 0, 2]), ((2, 1, 5, 1), [3, 2, 1, 0])):
        case("permute", "".join(map(str, axes)) + f"-of-{len(x)}d", lambda x: x.permute(axes), x, {"axes": axes})

    for name, x, starts, ends in (
        ("middle", (2, 5, 6, 7), [0, 1, 2, 3], [2, 4, 5, 6]),
        ("whole", (2, 3, 4), [0, 0, 0], [2, 3, 4]),
        ("one-element", (3, 4, 5), [2, 0, 4], [3, 1, 5]),
        ("channels", (2, 7, 3, 2), [0, 3, 0, 0], [2, 7, 3, 2]),
        ("vector", (17,), [5], [16]),
    ):
        index = tuple(slice(a, b) for a, b in zip(starts, ends))
        case("slice", name, lambda x: x[index], x, {"starts": starts, "ends": ends})

    for name, x, pads, value in (
        ("spatial", (2, 3, 4, 5), [[0, 0], [0, 0], [1, 2], [3, 0]], 0),
        ("value", (2, 2, 3, 3), [[0, 0], [0, 0], [1, 1], [2, 2]], -1.5),
        ("every-axis", (1, 2, 3, 2), [[1, 0], [0, 1], [2, 1], [0, 3]], 0.25),
        ("none", (2, 3), [[0, 0], [0, 0]], 0),
        ("vector", (7,), [[3, 2]], 1),
    ):
        flat = [p for pair in reversed(pads) for p in pair]
        case("pad", name, lambda x: F.pad(x, flat, value=value), x, {"pads": pads, "value": value})

    def joined(op, name, fn, axis, *shapes):
        inputs = {key: t.normal(*shape) for key, shape in zip("abcde", shapes)}
        t.add(f"{op}/{name}", op, lambda *x: fn(x, axis), inputs, {"axis": axis}, grads=tuple(inputs))
    joined("concat", "channels", torch.cat, 1, (2, 3, 4, 5), (2, 5, 4, 5))
    joined("concat", "three-uneven", torch.cat, 1, (2, 1, 3, 3), (2, 4, 3, 3), (2, 2, 3, 3))
    joined("concat", "batch", torch.cat, 0, (1, 3, 2, 5), (3, 3, 2, 5))
    joined("concat", "last-axis-negative", torch.cat, -1, (2, 3, 4), (2, 3, 1))
    joined("concat", "five-vectors", torch.cat, 0, (1,), (2,), (3,), (5,), (7,))
    joined("concat", "one-input", torch.cat, 1, (2, 3, 4))
    joined("stack", "new-first-axis", torch.stack, 0, (3, 5), (3, 5), (3, 5))
    joined("stack", "new-middle-axis", torch.stack, 1, (2, 3, 5), (2, 3, 5))
    joined("stack", "new-last-axis", torch.stack, -1, (2, 3), (2, 3), (2, 3))


def matmul_cases():
    for name, a, b in (
        ("2d", (5, 7), (7, 3)), ("row-by-column", (1, 13), (13, 1)), ("column-by-row", (5, 1), (1, 7)),
        ("17x19x23", (17, 19), (19, 23)), ("64x33x40", (64, 33), (33, 40)), ("batched", (3, 4, 5), (3, 5, 2)), ("batch-against-one-matrix", (3, 4, 5), (5, 6)),
        ("one-matrix-against-batch", (4, 5), (3, 5, 2)), ("stretched-batch-axes", (2, 1, 3, 4), (1, 5, 4, 2)),
        ("4d", (2, 3, 4, 5), (2, 3, 5, 1)), ("fewer-batch-axes", (2, 3, 4, 5), (3, 5, 2)),
    ):
        t.add(f"matmul/{name}", "matmul", torch.matmul, {"a": t.normal(*a), "b": t.normal(*b)}, grads=("a", "b"))


def loss_cases():
    def mask(*shape, share=0.4):
        return (t.rng.random(shape) < share).astype(np.float32)

    def dice(smooth):
        return lambda p, target: 1 - (2 * (p * target).sum() + smooth) / (p.sum() + target.sum() + smooth)

    def dice_case(name, p, y, smooth=1):
        t.add(f"diceLoss/{name}", "diceLoss", dice(smooth), {"p": p, "target": y}, {"smooth": smooth}, grads=("p",))
    dice_case("batch", t.uniform(3, 1, 7, 9), mask(3, 1, 7, 9))
    dice_case("two-channels", t.uniform(2, 2, 5, 6), mask(2, 2, 5, 6))
    dice_case("empty-truth", t.uniform(2, 1, 4, 5), mask(2, 1, 4, 5, share=0))
    dice_case("both-empty", np.zeros((1, 1, 4, 5), np.float32), np.zeros((1, 1, 4, 5), np.float32))
    truth = mask(2, 1, 6, 5)
    dice_case("perfect", truth, truth)
    dice_case("smooth0.1-soft-truth", t.uniform(2, 1, 5, 7), t.uniform(2, 1, 5, 7), smooth=0.1)

    for name, shape in (("4d", (2, 3, 5, 7)), ("vector-17", (17,)), ("one-element", (1,))):
        t.add(f"mseLoss/{name}", "mseLoss", F.mse_loss, {"x": t.normal(*shape), "target": t.normal(*shape)}, grads=("x",))

    def bce(name, x, y):
        t.add(f"bceWithLogits/{name}", "bceWithLogits", F.binary_cross_entropy_with_logits, {"x": x, "target": y}, grads=("x",))
    bce("4d", t.normal(2, 1, 5, 7, scale=3), mask(2, 1, 5, 7))
    bce("soft-truth", t.normal(2, 3, 4, scale=3), t.uniform(2, 3, 4))
    logits = np.array([-500, -200, -100, -20, -1e-4, 0, 1e-4, 20, 100, 200, 500], np.float32)
    bce("large-logits-truth-0", logits, np.zeros_like(logits))
    bce("large-logits-truth-1", logits, np.ones_like(logits))


def grouped_conv_cases():
    case = conv_case
    case("5x5-depthwise-stride2", (2, 3, 12, 16), (3, 1, 5, 5), stride=2, padding=2, groups=3)
    case("7x7-depthwise-stride2-odd", (1, 2, 13, 15), (2, 1, 7, 7), bias=False, stride=2, padding=3, groups=2)
    case("3x3-depthwise-stride2-valid", (2, 4, 9, 24), (4, 1, 3, 3), stride=2, groups=4)
    case("2x2-depthwise-stride2-multiplier2", (1, 3, 8, 8), (6, 1, 2, 2), stride=2, groups=3)
    case("5x5-groups2", (2, 6, 8, 12), (8, 3, 5, 5), padding=2, groups=2)
    case("3x3-stride2-groups2-of-5", (1, 10, 9, 16), (12, 5, 3, 3), stride=2, padding=1, groups=2)
    case("1x1-groups2-of-12", (2, 24, 4, 6), (26, 12, 1, 1), groups=2)
    case("3x3-stride2-groups2-of-12", (1, 24, 4, 8), (24, 12, 3, 3), stride=2, padding=1, groups=2)


conv_cases()
pool_cases()
interpolate_cases()
batch_norm_cases()
grid_sample_cases()
elementwise_cases()
softmax_cases()
reduction_cases()
shape_cases()
matmul_cases()
loss_cases()
grouped_conv_cases()
t.write()
