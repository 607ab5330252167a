"""Compares a picture with the results that it was drawn from: `compare.py RESULTS.json PICTURE.svg`. Prints what is in it."""
import json
import math
import sys
import xml.etree.ElementTree as tree

# Title, contest, metric, who stands for Sluice, and by what the kernel's one travels.
PANELS = [
    ("TCP round trip 64 B, both spin", "pingpong-spin-two-64", "median", "sluice", "TCP"),
    ("UDP round trip 64 B, both spin", "udp-pingpong-spin-two-64", "median", "sluice", "UDP"),
    ("TCP round trip 64 B, nothing set", "pingpong-sleep-two-64", "median", "sluice adaptive", "TCP"),
    ("UDP round trip 64 B, nothing set", "udp-pingpong-sleep-two-64", "median", "sluice adaptive", "UDP"),
    ("TCP 64 B one way", "stream-two-64", "rate", "sluice adaptive", "TCP"),
    ("UDP 64 B one way, received", "udp-oneway-two-64", "rate", "sluice adaptive", "UDP"),
    ("50 client processes, TCP", "clients-tcp-50", "rate", "sluice", "TCP"),
    ("50 client processes, UDP", "clients-udp-50", "rate", "sluice", "UDP"),
    ("memcached GET, 1 connection", "memcached-c1", "rate", "sluice", "TCP"),
    ("memcached GET, 50 connections", "memcached-c50", "rate", "sluice", "TCP"),
    ("redis GET, 1 connection", "redis-get-c1-p1", "rate", "sluice", "TCP"),
    ("redis GET, 50 connections", "redis-get-c50-p1", "rate", "sluice", "TCP"),
    ("nginx 1 KB, 1 kept connection", "nginx-keep-1", "rate", "sluice", "TCP"),
    ("nginx 1 KB, 50 kept connections", "nginx-keep-50", "rate", "sluice", "TCP"),
    ("PostgreSQL SELECT, 1 client", "pgbench-c1", "rate", "sluice", "TCP"),
    ("PostgreSQL SELECT, 50 clients", "pgbench-c50", "rate", "sluice", "TCP"),
]


def ways(sluice, kernel):
    """The bars of a panel: label and contestant."""
    return [("Sluice", sluice), ("kernel " + kernel, "kernel"), ("unix socket", "unix"), ("bare ring", "bare ring")]


SVG = "{http://www.w3.org/2000/svg}"
FULL, COLUMN, MARGIN = 240, 422, 16


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
        edge = MARGIN + COLUMN if x < MARGIN + COLUMN else width
        check(x + length * (0.5 if text.get("class") == "d" else 1) <= edge, "beyond the edge of its column:", text.text)
    check(0 < float(text.get("y")) < height, "below the edge:", text.text)
machine = document["machine"]
check(f"Linux {machine['kernel']}, {machine['processors']} x {machine['processor']}" in [t.text for t in texts], "no machine")
drawn_rounds = [
    line["rounds"]
    for _, contest, metric, sluice, kernel in PANELS
    for line in document["results"]
    if line["contest"] == contest and line["contestant"] in [name for _, name in ways(sluice, kernel)] and metric in line["values"]
]
least, most = min(drawn_rounds), max(drawn_rounds)
rounds = f"Medians of {least}{'' if least == most else f' to {most}'} round{'' if least == most == 1 else 's'} in turns"
check(any(t.text.startswith(rounds) for t in texts), "not", rounds)
style = picture.find(SVG + "style").text
check("prefers-color-scheme: dark" in style, "one colour scheme")
raw = open(sys.argv[2]).read()
check(not any(word in raw for word in ("href", "<script", "url(", "<image")), "does not stand alone")

# The bars in their order, each with the words before and behind it.
drawn = [(elements[i - 1].text, elements[i + 1].text, e) for i, e in enumerate(elements) if e.tag == SVG + "rect"]
titles = [t.text for t in texts if t.get("class") == "p"]
figures, panels = 0, 0
for title, contest, metric, sluice, kernel in PANELS:
    values = [(label, found.get((contest, name), {}).get(metric)) for label, name in ways(sluice, kernel)]
    values = [(label, value) for label, value in values if value]
    if not values:
        check(title not in titles, title, "was not measured")
        continue
    check(titles[panels] == title, titles[panels], "in the place of", title)
    # Two columns, line by line.
    place = next(t for t in texts if t.text == title)
    check(float(place.get("x")) == MARGIN + COLUMN * (panels % 2), title, "is in the other column")
    check(panels % 2 == 0 or place.get("y") == above, title, "does not stand beside the one before")
    above = place.get("y")
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
