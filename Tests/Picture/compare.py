"""Compares a picture with the results that it was drawn from: `compare.py RESULTS.json PICTURE.svg`. Prints what is in it."""
import json
import math
import sys
import xml.etree.ElementTree as tree

PANELS = [
    ("64 B round trip, both ends spinning", "pingpong-spin-two-64", "median", "sluice"),
    ("64 B round trip, blocking calls, nothing set", "pingpong-sleep-two-64", "median", "sluice adaptive"),
    ("64 B one way, messages a second", "stream-two-64", "rate", "sluice adaptive"),
    ("redis GET, 1 connection, requests a second", "redis-get-c1-p1", "rate", "sluice"),
    ("redis GET, 50 connections, requests a second", "redis-get-c50-p1", "rate", "sluice"),
    ("nginx 1 KB, 1 kept connection, requests a second", "nginx-keep-1", "rate", "sluice"),
    ("nginx 1 KB, 50 kept connections, requests a second", "nginx-keep-50", "rate", "sluice"),
]
WAYS = [("Sluice", None), ("kernel TCP", "kernel"), ("unix socket", "unix"), ("bare ring", "bare ring")]
SVG = "{http://www.w3.org/2000/svg}"
FULL = 520


def check(right, *what):
    if not right:
        sys.exit("wrong: " + " ".join(str(word) for word in what))


def shown(value, metric):
    """Three digits and a unit, from nanoseconds or from a rate."""
    units = [(1e6, " ms"), (1e3, " us"), (1, " ns")] if metric == "median" else [(1e6, " M"), (1e3, " k"), (1, "")]
    scale, unit = next(u for u in units if value >= u[0])
    value /= scale
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    # A half goes up.
    return f"{math.floor(value * 10**digits + 0.5) / 10**digits:.{digits}f}{unit}"


def wanted_width(value, values):
    if max(values) <= 20 * min(values):
        return FULL * value / max(values)
    low = 10 ** (math.ceil(math.log10(min(values))) - 1)
    high = 10 ** math.ceil(math.log10(max(values)))
    return FULL * math.log10(value / low) / math.log10(high / low)


document = json.load(open(sys.argv[1]))
picture = tree.parse(sys.argv[2]).getroot()
check(picture.tag == SVG + "svg", picture.tag)
found = {(line["contest"], line["contestant"]): line["values"] for line in document["results"]}
width, height = (float(n) for n in picture.get("viewBox").split()[2:])
elements = [e for e in picture if e.tag in (SVG + "text", SVG + "rect")]
texts = [e for e in elements if e.tag == SVG + "text"]
for text in texts:
    x, length = float(text.get("x")), 7.5 * len(text.text)
    if text.get("class") in ("v", "d"):
        check(x + length * (0.5 if text.get("class") == "d" else 1) <= width, "beyond the edge:", text.text)
    check(0 < float(text.get("y")) < height, "below the edge:", text.text)
machine = document["machine"]
check(f"Linux {machine['kernel']}, {machine['processors']} x {machine['processor']}" in [t.text for t in texts], "no machine")
drawn_rounds = [
    line["rounds"]
    for _, contest, metric, sluice in PANELS
    for line in document["results"]
    if line["contest"] == contest and line["contestant"] in [name or sluice for _, name in WAYS] and metric in line["values"]
]
least, most = min(drawn_rounds), max(drawn_rounds)
rounds = f"medians of {least}{'' if least == most else f' to {most}'} rounds"
check(any(t.text.startswith(rounds) for t in texts), "not", rounds)
style = picture.find(SVG + "style").text
check("prefers-color-scheme: dark" in style, "one colour scheme")
raw = open(sys.argv[2]).read()
check(not any(word in raw for word in ("href", "<script", "url(", "<image")), "does not stand alone")

# The bars in their order, each with the words before and behind it.
drawn = [(elements[i - 1].text, elements[i + 1].text, e) for i, e in enumerate(elements) if e.tag == SVG + "rect"]
titles = [t.text for t in texts if t.get("class") == "p"]
figures, panels = 0, 0
for title, contest, metric, sluice in PANELS:
    values = [(label, found.get((contest, name or sluice), {}).get(metric)) for label, name in WAYS]
    values = [(label, value) for label, value in values if value]
    if not values:
        check(title not in titles, title, "was not measured")
        continue
    check(titles[panels] == title, titles[panels], "in the place of", title)
    panels += 1
    logarithmic = max(v for _, v in values) > 20 * min(v for _, v in values)
    hint = ("shorter" if metric == "median" else "longer") + " is better" + (", logarithmic" if logarithmic else "")
    place = next(i for i, t in enumerate(texts) if t.text == title)
    check(texts[place + 1].text == hint, title, texts[place + 1].text)
    for label, value in values:
        before, behind, bar = drawn[figures]
        check((before, behind) == (label, shown(value, metric)), title, before, behind, "for", label, value)
        want = wanted_width(value, [v for _, v in values])
        check(abs(float(bar.get("width")) - want) < 0.2, title, label, "is", bar.get("width"), "long, not", want)
        figures += 1
check(len(drawn) == figures and len(titles) == panels, "bars", len(drawn), "panels", len(titles))
print(f"{figures} of the figures, {panels} of the groups")
