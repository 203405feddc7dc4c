"""Medians, spreads, ratios pair by pair, and what may be said at the noise that the A/A run showed. Pure."""
import math
import statistics

# Others' share of the machine, and difference of two equal runs, above which a machine is called unquiet or noisy.
QUIET, NOISY = 0.05, 0.15


def summary(values):
    """{median, min, max, n} of the values that are there, None without any."""
    have = [v for v in values if v is not None]
    if not have:
        return None
    return {"median": statistics.median(have), "min": min(have), "max": max(have), "n": len(have)}


def ratios(ours, theirs):
    """ours/theirs of each round where both have a figure."""
    return [a / b for a, b in zip(ours, theirs) if a is not None and b]


def noise(pairs):
    """How far two equal runs were apart at most, as a share (0.1 = 10 %), from [(a, b)]; None without a pair."""
    apart = [abs(math.log(a / b)) for a, b in pairs if a and b]
    return math.exp(max(apart)) - 1 if apart else None


def verdict(values, at_noise, more_is_better=True):
    """What the ratios ours/theirs of all rounds tell: better, worse or unclear. Every round must agree, by more
    than equal runs differ."""
    if not values:
        return "not measured"
    margin = 1 + (at_noise if at_noise is not None else NOISY)
    if min(values) > margin:
        return "better" if more_is_better else "worse"
    if max(values) < 1 / margin:
        return "worse" if more_is_better else "better"
    return "unclear"


def quality(at_noise, others, niceness=0):
    """(word, reasons): quiet, unquiet or noisy. others: shares of the machine's time that went to other programs."""
    reasons, level = [], 0
    if at_noise is not None:
        level = max(level, (at_noise > QUIET) + (at_noise > NOISY))
        if at_noise > QUIET:
            reasons.append(f"equal runs differed by {at_noise:.0%}")
    busiest = max(others, default=0)
    level = max(level, (busiest > QUIET) + (busiest > NOISY))
    if busiest > QUIET:
        reasons.append(f"other programs took up to {busiest:.0%} of the machine")
    if at_noise is None:
        level = max(level, 1)
        reasons.append("no A/A run")
    if niceness > 0:
        level = 2
        reasons.append(f"run at niceness {niceness}, behind everybody else")
    return ("quiet", "unquiet", "noisy")[level], reasons


def percentile(ordered, share):
    """Of ascending values, by nearest rank; None without any."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else None


def reached(value, operator, bound):
    """Whether a target is met; None when it could not be measured."""
    if value is None or bound is None:
        return None
    return value >= bound if operator == ">=" else value <= bound
