"""Optimisers, schedules and gradient clipping from PyTorch (float64). Writes optim.json and
optim.safetensors.

    /usr/bin/python3 test/reference/make_optim.py
"""
import warnings

import numpy as np
import torch

from reference_files import Table

warnings.filterwarnings("ignore", category=UserWarning)
torch.set_num_threads(1)
t = Table("optim", seed=11)
STEPS = 10
SHAPES = {"weight": (3, 2, 3, 3), "bias": (5,), "scale": (1,)}
TORCH_NAME = {"weightDecay": "weight_decay"}


def optimiser(name, op, optimiser_class, attrs, lrs=None, grad_scale=1.0):
    """`<p>` before the first step, `grads/<p>` (steps, …) given to each, `after/<p>` (steps, …) after each."""
    case = {"name": name, "op": op, "attrs": attrs, "params": list(SHAPES), "steps": STEPS}
    if lrs:
        case["lrs"] = lrs  # the learning rate set before each step
    params, grads, after = {}, {}, {p: [] for p in SHAPES}
    for p, shape in SHAPES.items():
        start = t.normal(*shape)
        grads[p] = t.normal(STEPS, *shape, scale=grad_scale)
        params[p] = torch.tensor(start.astype(np.float64), requires_grad=True)
        t.keep(case, p, start)
        t.keep(case, f"grads/{p}", grads[p])
    options = {TORCH_NAME.get(key, key): value for key, value in attrs.items()}
    opt = optimiser_class(list(params.values()), **options)
    for step in range(STEPS):
        if lrs:
            opt.param_groups[0]["lr"] = lrs[step]
        for p in SHAPES:
            params[p].grad = torch.tensor(grads[p][step].astype(np.float64))
        opt.step()
        for p in SHAPES:
            after[p].append(params[p].detach().numpy().copy())
    for p in SHAPES:
        t.keep(case, f"after/{p}", np.stack(after[p]))
    t.cases.append(case)


def optimisers():
    adam, adamw, sgd = torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD
    optimiser("Adam/lr1e-3", "Adam", adam, {"lr": 1e-3})
    optimiser("Adam/lr0.1-betas-eps", "Adam", adam, {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-4})
    optimiser("Adam/weight-decay", "Adam", adam, {"lr": 0.01, "weightDecay": 0.1})
    optimiser("Adam/small-gradients", "Adam", adam, {"lr": 0.01}, grad_scale=1e-6)
    optimiser("Adam/lr-changes", "Adam", adam, {"lr": 0.1}, lrs=[0.1, 0.1, 0.05, 0.05, 0.05, 0.01, 0.01, 0.2, 0.001, 0.0])
    optimiser("AdamW/default-weight-decay", "AdamW", adamw, {"lr": 0.01, "weightDecay": 0.01})
    optimiser("AdamW/weight-decay0.3", "AdamW", adamw, {"lr": 0.05, "betas": [0.9, 0.99], "weightDecay": 0.3})
    optimiser("SGD/plain", "SGD", sgd, {"lr": 0.1})
    optimiser("SGD/momentum", "SGD", sgd, {"lr": 0.05, "momentum": 0.9})
    optimiser("SGD/momentum-dampening", "SGD", sgd, {"lr": 0.05, "momentum": 0.9, "dampening": 0.5})
    optimiser("SGD/nesterov", "SGD", sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True})
    optimiser("SGD/weight-decay", "SGD", sgd, {"lr": 0.1, "weightDecay": 0.2})
    optimiser("SGD/nesterov-weight-decay", "SGD", sgd, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weightDecay": 0.1})
    optimiser("SGD/momentum-lr-changes", "SGD", sgd, {"lr": 0.1, "momentum": 0.9}, lrs=[0.1] * 4 + [0.01] * 6)


def schedule(name, op, attrs, make, epochs=None, metrics=None):
    """lrs[k] is the learning rate after k calls of the schedule's step(); lrs[0] the one before any."""
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=attrs["lr"])
    scheduler = make(opt)
    lrs = [opt.param_groups[0]["lr"]]
    for value in metrics if metrics is not None else range(epochs):
        opt.step()
        scheduler.step(value) if metrics is not None else scheduler.step()
        lrs.append(opt.param_groups[0]["lr"])
    case = {"name": name, "op": op, "attrs": attrs}
    if metrics is not None:
        case["metrics"] = metrics
    t.cases.append({**case, "lrs": lrs})
    return lrs


def schedules():
    s = torch.optim.lr_scheduler
    losses = [1.0, 0.8, 0.7, 0.7, 0.71, 0.69995, 0.72, 0.7, 0.7, 0.5, 0.5, 0.51, 0.5, 0.6, 0.49, 0.49, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4]
    scores = [0.1, 0.3, 0.5, 0.5, 0.50001, 0.49, 0.5, 0.6, 0.6, 0.55, 0.6, 0.6001, 0.6, 0.59, 0.7, 0.7, 0.7]

    def plateau(name, metrics, lr=0.1, **options):
        names = {"threshold_mode": "thresholdMode", "min_lr": "minLr"}
        attrs = {"lr": lr, **{names.get(key, key): value for key, value in options.items()}}
        schedule(f"ReduceLROnPlateau/{name}", "ReduceLROnPlateau", attrs, lambda o: s.ReduceLROnPlateau(o, **options), metrics=metrics)
    plateau("defaults", [0.5] * 25)
    plateau("patience2", losses, patience=2)
    plateau("patience0", losses[:10], patience=0, factor=0.5)
    plateau("mode-max", scores, mode="max", patience=1)
    plateau("threshold-absolute", losses, patience=2, threshold=0.05, threshold_mode="abs", factor=0.2)
    plateau("threshold-relative", losses, patience=1, threshold=0.1, threshold_mode="rel")
    plateau("mode-max-threshold-absolute", scores, mode="max", patience=1, threshold=0.15, threshold_mode="abs")
    plateau("cooldown", losses, patience=1, cooldown=3, factor=0.5)
    plateau("min-lr", [1.0] * 16, patience=1, min_lr=0.004, factor=0.3)
    plateau("eps-stops-tiny-changes", [1.0] * 12, lr=1e-7, patience=0, eps=1e-8, factor=0.5)

    schedule("StepLR/step3", "StepLR", {"lr": 0.1, "stepSize": 3, "gamma": 0.5}, lambda o: s.StepLR(o, 3, 0.5), epochs=12)
    schedule("StepLR/default-gamma", "StepLR", {"lr": 0.3, "stepSize": 4}, lambda o: s.StepLR(o, 4), epochs=9)
    schedule("CosineAnnealingLR/to-0", "CosineAnnealingLR", {"lr": 0.1, "tMax": 10}, lambda o: s.CosineAnnealingLR(o, 10), epochs=10)
    schedule("CosineAnnealingLR/eta-min", "CosineAnnealingLR", {"lr": 0.1, "tMax": 7, "etaMin": 0.01},
             lambda o: s.CosineAnnealingLR(o, 7, 0.01), epochs=7)
    # lr · (1 − k/totalIters)^power, then 0
    lrs = schedule("PolynomialLR/power0.9", "PolynomialLR", {"lr": 0.1, "totalIters": 10, "power": 0.9},
                   lambda o: s.PolynomialLR(o, 10, 0.9), epochs=13)
    assert np.allclose(lrs, [0.1 * max(0, 1 - k / 10) ** 0.9 for k in range(14)])
    schedule("PolynomialLR/linear", "PolynomialLR", {"lr": 0.2, "totalIters": 5}, lambda o: s.PolynomialLR(o, 5), epochs=7)
    # lr · (startFactor + (1 − startFactor)·min(k, totalIters)/totalIters)
    schedule("LinearWarmup/from-a-tenth", "LinearWarmup", {"lr": 0.1, "startFactor": 0.1, "totalIters": 5},
             lambda o: s.LinearLR(o, 0.1, 1.0, 5), epochs=8)
    schedule("LinearWarmup/from-1-100th", "LinearWarmup", {"lr": 1e-3, "startFactor": 0.01, "totalIters": 3},
             lambda o: s.LinearLR(o, 0.01, 1.0, 3), epochs=5)
    # four steps of warm-up, then the cosine starts at its own step 0
    schedule("LinearWarmup/then-cosine", "LinearWarmup",
             {"lr": 0.1, "startFactor": 0.1, "totalIters": 4, "then": "CosineAnnealingLR", "tMax": 8},
             lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 4), s.CosineAnnealingLR(o, 8)], [4]), epochs=12)


def clipping():
    def case(name, op, attrs, scale, fn):
        case = {"name": name, "op": op, "attrs": attrs, "params": list(SHAPES)}
        params = []
        for p, shape in SHAPES.items():
            grad = t.normal(*shape, scale=scale)
            t.keep(case, f"grads/{p}", grad)
            param = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
            param.grad = torch.tensor(grad.astype(np.float64))
            params.append(param)
        norm = fn(params)
        for p, param in zip(SHAPES, params):
            t.keep(case, f"clipped/{p}", param.grad)
        if norm is not None:
            case["totalNorm"] = float(norm)  # before clipping, over all parameters
        t.cases.append(case)

    clip = torch.nn.utils
    for name, limit, scale in (("clips", 1.0, 1.0), ("below-the-limit-unchanged", 100.0, 1.0), ("large-gradients", 0.5, 1e4), ("zero-gradients", 1.0, 0.0)):
        case(f"clipGradNorm/{name}", "clipGradNorm", {"maxNorm": limit}, scale, lambda p: clip.clip_grad_norm_(p, limit))
    for name, limit in (("half", 0.5), ("nothing-to-clip", 50.0)):
        case(f"clipGradValue/{name}", "clipGradValue", {"clipValue": limit}, 1.0, lambda p: clip.clip_grad_value_(p, limit))


optimisers()
schedules()
clipping()
t.write()
