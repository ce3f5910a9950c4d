"""Paired tests and correlations by SciPy, with and without ties."""
import json

import numpy as np
from scipy import stats

from reference_files import HERE

rng = np.random.default_rng(3)
cases = []
for n, decimals in [(6, 9), (12, 9), (25, 9), (50, 9), (80, 9), (30, 1), (60, 2)]:
    a = np.round(rng.random(n), decimals)
    b = np.round(a + rng.normal(0.03, 0.1, n), decimals)
    d = np.abs(a - b)
    exact = n <= 50 and (d > 0).all() and len(set(d)) == n
    test = stats.wilcoxon(a, b, mode="exact" if exact else "approx")
    cases.append({"a": a.tolist(), "b": b.tolist(), "p": float(test.pvalue), "r": float(stats.pearsonr(a, b)[0])})
(HERE / "statistics.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
