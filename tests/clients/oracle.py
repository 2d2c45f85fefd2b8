"""Compares what the gateway charges with what PyPI's genai-prices says, to the last digit.

    oracle.py TOLLGATE PRICES_FOLDER DISAGREEMENTS [--calls N] [--seed N]

1. Facts. For every exact model name of the shipped lists, service tier, meter and size of context that has a price on both sides: is the
   price of a unit the same? Where it is not, the file of disagreements has an entry with the reason; an entry that explains nothing any more
   is a failure too, so the file stays true.
2. Calls. Thousands of random usages of the meters whose facts agree, priced by `tollgate prices explain --calls -` and by genai-prices: the
   totals must be equal. Both work in decimals, and so does this script.

A price that only one side has is no disagreement of facts: genai-prices then charges the price of the broader class (cached input as input),
the gateway marks the call unpriced. Such meters are left out of the calls; how many there are is printed.
"""

import argparse
import json
import random
import subprocess
import sys
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, getcontext
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from genai_prices import Usage, data_snapshot
from genai_prices.types import TieredPrices

getcontext().prec = 60
PLACES = Decimal(1).scaleb(-12)

# Our provider's name, theirs.
PROVIDERS = {
    "anthropic": "anthropic",
    "awsbedrock": "aws",
    "azure-openai": "azure",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "together": "together",
    "xai": "x-ai",
}
# Our tier: how they are asked for it.
TIERS = {
    None: None,
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
FAST_AT_ANTHROPIC = {"speed": "fast"}
# Our meter: their price, and our usage of it beside what its total counts.
METERS = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_in": "input_audio_mtok",
    "image_in": "input_image_mtok",
    "video_in": "input_video_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "cache_read_image": "cache_image_read_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_out": "output_audio_mtok",
    "image_out": "output_image_mtok",
    "web_search": "web_searches_kcount",
}
INPUTS = ["input", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "audio_in", "image_in", "video_in"]
INPUTS += ["cache_read_audio", "cache_read_image"]
# Two days: prices that end in between are looked at on both sides of it.
DAYS = ["2026-11-20T12:00:00Z", "2027-01-15T12:00:00Z"]
# Calls below and above every threshold of a context.
SIZES = {"small": 1_000, "large": 2_000_000}


def ours(counts):
    """The usage as `tollgate prices explain` reads it, of counts that do not overlap."""
    of = lambda *meters: sum(counts.get(meter, 0) for meter in meters)
    usage = {
        "input_tokens": of(*INPUTS),
        "cache_read_input_tokens": of("cache_read", "cache_read_audio", "cache_read_image"),
        "cache_creation_input_tokens": of("cache_write", "cache_write_5m", "cache_write_1h"),
        "output_tokens": of("output", "reasoning", "audio_out", "image_out"),
        "reasoning_tokens": of("reasoning"),
    }
    beside = set(METERS) - {"input", "output", "cache_read", "cache_write", "reasoning"}
    return usage | {meter: counts[meter] for meter in beside if counts.get(meter)}


def theirs(counts):
    """The same usage for genai-prices."""
    of = lambda *meters: sum(counts.get(meter, 0) for meter in meters)
    usage = {
        "input_tokens": of(*INPUTS),
        "cache_read_tokens": of("cache_read", "cache_read_audio", "cache_read_image"),
        "cache_write_tokens": of("cache_write", "cache_write_5m", "cache_write_1h"),
        "cache_write_5m_tokens": of("cache_write_5m"),
        "cache_write_1h_tokens": of("cache_write_1h"),
        "input_audio_tokens": of("audio_in", "cache_read_audio"),
        "input_image_tokens": of("image_in", "cache_read_image"),
        "input_video_tokens": of("video_in"),
        "cache_audio_read_tokens": of("cache_read_audio"),
        "cache_image_read_tokens": of("cache_read_image"),
        "cache_video_read_tokens": 0,
        "cache_audio_write_tokens": 0,
        "cache_image_write_tokens": 0,
        "cache_video_write_tokens": 0,
        "output_audio_reasoning_tokens": 0,
        "output_image_reasoning_tokens": 0,
        "output_tokens": of("output", "reasoning", "audio_out", "image_out"),
        "output_reasoning_tokens": of("reasoning"),
        "output_audio_tokens": of("audio_out"),
        "output_image_tokens": of("image_out"),
        "web_searches": of("web_search"),
    }
    # Zeros are told too: what overlaps (cached audio, say) is otherwise not known to it.
    return Usage(**usage)


class Gateway:
    """`tollgate prices explain`, asked many calls at once."""

    def __init__(self, binary):
        self.binary = binary

    def explain(self, calls):
        lines = "\n".join(json.dumps(call) for call in calls)
        command = [self.binary, "prices", "explain", "--calls", "-", "--format", "json"]
        done = subprocess.run(command, input=lines, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"tollgate failed: {done.stderr}")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(calls), f"{len(answers)} answers to {len(calls)} calls"
        return answers


def models(folder):
    """Every exact model name of the shipped lists with a service tier: (provider, model, tier)."""
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")):
        spec = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["spec"]
        for price in spec["prices"]:
            if "*" in price["model"] or "?" in price["model"] or price.get("region"):
                continue
            tier = price.get("service_tier")
            if tier in TIERS and price["meter"] in METERS:
                found.setdefault((spec["provider"], price["model"], tier), set()).add(price["meter"])
    return found


def moment(day):
    return datetime.fromisoformat(day.replace("Z", "+00:00"))


class Oracle:
    """genai-prices' snapshot, which is part of the package: nothing is fetched."""

    def __init__(self):
        self.providers = {provider.id: provider for provider in data_snapshot.get_snapshot().providers}
        self.all = list(self.providers.values())

    def prices(self, provider, model, tier, day):
        """Their prices of a model; `None` if they do not know it, or not in the tier."""
        found = self.providers[PROVIDERS[provider]].find_model(model, all_providers=self.all)
        if found is None:
            return None
        context = TIERS[tier]
        if tier == "fast" and provider == "anthropic":
            context = FAST_AT_ANTHROPIC
        if context is not None:
            variants = found.price_variants or ()
            if not any(variant.when == context for variant in variants):
                return None
            # A class that the tier does not price would cost what it does in the standard one: such facts are only ours.
            prices = found.get_prices(moment(day), context)
            tiered = {
                key
                for variant in variants
                if variant.when == context
                for key, price in variant.prices.__dict__.items()
                if price is not None
            }
            return prices, tiered
        prices = found.get_prices(moment(day))
        return prices, {key for key, price in prices.__dict__.items() if price is not None}


def unit_price(prices, meter, input_tokens):
    """Their price of one unit; `None` if they have none of this very class."""
    prices, known = prices
    key = METERS[meter]
    if key not in known:
        return None
    price = getattr(prices, key)
    if isinstance(price, TieredPrices):
        above = [tier for tier in price.tiers if input_tokens > tier.start]
        price = max(above, key=lambda tier: tier.start).price if above else price.base
    return Decimal(str(price)) / (1000 if meter == "web_search" else 1_000_000)


def probe(meter, size):
    """A usage with some of a meter, of which the context is small or large."""
    tokens = SIZES[size]
    counts = {meter: tokens}
    if meter not in INPUTS and size == "large":
        counts["input"] = tokens
    return counts


def facts(gateway, oracle, listed):
    """Our price of a unit and theirs: {(provider, model, tier, day, size): {meter: (ours, theirs)}}."""
    places, calls = [], []
    for (provider, model, tier), meters in listed.items():
        for day in DAYS:
            prices = oracle.prices(provider, model, tier, day)
            if prices is None:
                continue
            for size in SIZES:
                for meter in sorted(meters):
                    counts = probe(meter, size)
                    places.append(((provider, model, tier, day, size), meter, unit_price(prices, meter, sum(counts.get(m, 0) for m in INPUTS))))
                    calls.append(call(provider, model, tier, day, counts))
    found = {}
    for (place, meter, their), answer in zip(places, gateway.explain(calls)):
        charge = [charge for charge in answer["charges"] if charge["meter"] == meter]
        price = charge[0]["unit_price"] if charge else None
        found.setdefault(place, {})[meter] = (None if price is None else Decimal(price), their)
    return found


def call(provider, model, tier, day, counts):
    told = {"provider": provider, "model": model, "at": day, "usage": ours(counts)}
    return told | ({"service_tier": tier} if tier else {})


def names(entry, key, value):
    """Whether an entry's field, one glob or several, is absent or names a value."""
    globs = entry.get(key)
    if globs is None:
        return True
    globs = globs if isinstance(globs, list) else [globs]
    return any(fnmatchcase(value, glob) for glob in globs)


def explains(entry, place, meter):
    provider, model, tier, day, size = place
    fits = entry["provider"] == provider and names(entry, "models", model) and names(entry, "meters", meter)
    return fits and names(entry, "tiers", tier or "standard") and names(entry, "days", day[:10]) and names(entry, "context", size)


def random_counts(dice, meters):
    """Some of the meters, each with a count of a random size."""
    chosen = [meter for meter in meters if dice.random() < 0.7] or [dice.choice(meters)]
    count = lambda meter: dice.randrange(1, 30) if meter == "web_search" else dice.randrange(1, 10 ** dice.randrange(1, 7))
    return {meter: count(meter) for meter in chosen}


def compare_calls(gateway, oracle, agreed, count, dice):
    """Random calls; returns those whose totals differ."""
    places = sorted(agreed, key=repr)
    drawn, calls, totals = [], [], []
    for number in range(count):
        # Every model is drawn, whatever the count.
        provider, model, tier, day = places[number % len(places)]
        meters = agreed[(provider, model, tier, day)]
        counts = random_counts(dice, sorted(meters))
        prices, _ = oracle.prices(provider, model, tier, day)
        drawn.append((provider, model, tier, day, counts))
        calls.append(call(provider, model, tier, day, counts))
        totals.append(prices.calc_price(theirs(counts))["total_price"])
    wrong = []
    for draw, total, answer in zip(drawn, totals, gateway.explain(calls)):
        if answer["cost_status"] not in ("priced", "free") or Decimal(answer["cost"]) != total.quantize(PLACES, ROUND_HALF_EVEN):
            wrong.append(f"{draw}: {answer['cost']} ({answer['cost_status']}) here, {total} there")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tollgate")
    parser.add_argument("prices")
    parser.add_argument("disagreements")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    gateway, oracle = Gateway(arguments.tollgate), Oracle()
    entries = yaml.safe_load(Path(arguments.disagreements).read_text())
    found = facts(gateway, oracle, models(arguments.prices))

    same = other = only_ours = 0
    used, problems, agreed = set(), [], {}
    for place, meters in found.items():
        for meter, (our, their) in meters.items():
            known = agreed.setdefault(place[:4], {}).setdefault(meter, set())
            if our is None or their is None:
                only_ours += 1
                known.add(False)
            elif our == their:
                same += 1
                known.add(True)
            else:
                other += 1
                known.add(False)
                explaining = [number for number, entry in enumerate(entries) if explains(entry, place, meter)]
                used.update(explaining)
                if not explaining:
                    problems.append(f"not explained: {place} {meter}: {our} here, {their} there")
    for number, entry in enumerate(entries):
        if number not in used:
            problems.append(f"explains nothing any more: {entry}")
        for field in ("provider", "why", "right"):
            if not entry.get(field):
                problems.append(f"has no {field}: {entry}")
    # A meter takes part in the calls if its facts agree whatever the context.
    agreed = {place: [meter for meter, known in meters.items() if known == {True}] for place, meters in agreed.items()}
    agreed = {place: meters for place, meters in agreed.items() if meters}
    wrong = compare_calls(gateway, oracle, agreed, arguments.calls, random.Random(arguments.seed))
    problems += wrong
    print(
        f"{same} facts are the same, {other} differ as {len(entries)} entries explain, {only_ours} are only on one side; "
        f"{arguments.calls} calls of {len(agreed)} models, tiers and days, seed {arguments.seed}: {len(wrong)} differ"
    )
    for problem in problems[:2000]:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems or same < 1000 else 0)


if __name__ == "__main__":
    main()
