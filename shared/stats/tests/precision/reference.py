#!/usr/bin/env python3
"""Computes reference.json: the judge's log e-values to 60 digits, from the formulas alone.

Independent of the crate on purpose: fortunes are plain decimals (whose exponents do not overflow),
not logarithms, and every formula stands as the design writes it, without the rearrangements that
64-bit floats need. Needs nothing but Python. Run it as `python3 reference.py > reference.json`.
"""

import json
from decimal import Decimal as D, getcontext

getcontext().prec = 60
getcontext().Emax = 10**17
getcontext().Emin = -(10**17)

ERRORS = [("1.5", 6), ("2", 6), ("3", 5), ("5", 4), ("10", 3), ("30", 2), ("100", "1.4"), ("1000", 1)]
STAKES = [(stake, 1) for stake in ("0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "0.95")]
PI0, HAZARD, R, RISE, HALF = D("0.6"), D("0.05"), D("1.25"), D("0.001"), D("0.5")


class Fortune:
    """Experts and a reserve, JUDGE (a)."""

    def __init__(self, panel):
        total = sum(D(mass) for _, mass in panel)
        self.panel = [(D(belief), D(mass) / total) for belief, mass in panel]
        self.owned = [PI0 * mass for _, mass in self.panel]
        self.reserve = 1 - PI0

    def bet(self, log_growth):
        drawn = self.reserve * HAZARD
        self.owned = [
            (owned + mass * drawn) * log_growth(belief).exp()
            for owned, (belief, mass) in zip(self.owned, self.panel)
        ]
        self.reserve -= drawn

    def log(self):
        return (sum(self.owned) + self.reserve).ln()


def log_e(windows, panel, log_growth):
    fortune, logs = Fortune(panel), []
    for window in windows:
        n_c, _, n_b, _ = window
        if n_c and n_b:
            fortune.bet(lambda belief: log_growth(window, belief))
        logs.append(fortune.log())
    return logs


def regression(window, psi):
    n_c, x_c, n_b, x_b = map(D, window)
    rho = n_c / (n_b + n_c)
    return x_c * psi.ln() - (x_c + x_b) * (1 + rho * (psi - 1)).ln()


def robust(window, stake):
    n_c, x_c, n_b, x_b = map(D, window)
    m, rho = x_c + x_b, n_c / (n_b + n_c)
    return (1 + stake * (x_c / (m * rho) - 1)).ln() if m else D(0)


def limit(window, psi, s):
    n_c, x_c, _, _ = map(D, window)
    return x_c * psi.ln() - n_c * s * (psi - 1)


def log_ni(windows):
    """JUDGE (e): both halves, in plain form."""
    by_split, by_rates, seen, bad, logs = D(0), D(0), D(0), D(0), []
    for n_c, x_c, n_b, x_b in (tuple(map(D, window)) for window in windows):
        if n_c and n_b:
            rho = R * n_c / (n_b + R * n_c)
            by_split += -x_c * R.ln() - (x_c + x_b) * (1 + rho * (1 / R - 1)).ln()
            if seen:
                a = (bad + HALF) / (seen + 1)
                u = R * (n_b + R * n_c)
                v = (n_b + R * n_c) * RISE - a * R * (n_b + n_c)
                q = (-v + (v * v + 4 * u * a * n_b * RISE).sqrt()) / (2 * u)
                c = R * q + RISE
                by_rates += x_c * (a / c).ln() - n_c * (a - c)
                by_rates += x_b * (a / q).ln() - n_b * (a - q)
            seen, bad = seen + n_b, bad + x_b
        logs.append(((by_split.exp() + by_rates.exp()) / 2).ln())
    return logs


# (canary requests, bad ones, baseline requests, bad ones), from nothing to 10^12.
TRILLION = 10**12
CASES = {
    "nothing is bad, at any size": [(1, 0, 1, 0), (10**8, 0, TRILLION - 10**8, 0), (TRILLION, 0, TRILLION, 0)],
    "all is bad, at any size": [(1, 1, 1, 1), (10**8, 10**8, TRILLION, TRILLION), (TRILLION, TRILLION, TRILLION, TRILLION)],
    "one request at 1 basis point": [(1, 1, 9_999, 0), (1, 0, 9_999, 12), (1, 1, 9_999, 10)],
    "equal rates at 1 basis point of 10^12": [(10**8, 10**5, TRILLION - 10**8, 10**9)] * 3,
    "a small rise at 1 basis point of 10^12": [(10**8, 10**5, TRILLION - 10**8, 10**9), (10**8, 103_000, TRILLION - 10**8, 1_000_000_123)],
    "a fall at 1 basis point of 10^12": [(10**8, 10**5, TRILLION - 10**8, 10**9), (10**8, 90_000, TRILLION - 10**8, 999_999_000)],
    "an outage at 1 basis point": [(10**8, 0, TRILLION - 10**8, 10**6), (10**8, 10**8, TRILLION - 10**8, 10**6)],
    "nearly all is canary": [(TRILLION - 10**8, 10**9, 10**8, 10**5), (TRILLION - 10**8, 10**9 + 99_999, 10**8, 10**5)],
    "half and half of 10^12": [(TRILLION // 2, 5 * 10**8, TRILLION // 2, 5 * 10**8), (TRILLION // 2, 500_050_000, TRILLION // 2, 499_950_000)],
    "empty arms between": [(0, 0, 9_999, 3), (1, 0, 0, 0), (600, 2, 59_400, 55), (0, 0, 0, 0), (600, 9, 59_400, 61)],
    "a long good time, then a rise": [(600, 1, 59_400, 59)] * 60 + [(600, 4, 59_400, 59)] * 12,
}
LIMIT = D("0.001")


def rounded(logs):
    return [float(log) for log in logs]


def case(name, windows):
    with_canary = [(n_c, x_c, 1, 0) for n_c, x_c, _, _ in windows]
    return {
        "name": name,
        "windows": windows,
        "log_e": rounded(log_e(windows, ERRORS, regression)),
        "log_e_robust": rounded(log_e(windows, STAKES, robust)),
        "log_e_limit": rounded(log_e(with_canary, ERRORS, lambda window, psi: limit(window, psi, LIMIT))),
        "log_ni": rounded(log_ni(windows)),
    }


lines = [json.dumps(case(name, windows)) for name, windows in CASES.items()]
print("[" + ",\n".join(lines) + "]")
