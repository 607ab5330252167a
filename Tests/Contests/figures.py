"""Whether each contestant has the figure: `figures.py METRIC CONTESTANT... < RESULTS.json`. Prints the figures, or `skip` and why."""
import json
import sys

metric, names = sys.argv[1], sys.argv[2:]
found = {line["contestant"]: line for line in json.load(sys.stdin)["results"]}
reasons = [line["skipped"] for line in found.values() if line.get("skipped")]
if reasons:
    # What the system refuses is no failure; the tool has ended with an error for those.
    print("skip", reasons[0])
    sys.exit()
for name in names:
    value = found[name]["values"].get(metric)
    if value is None or value < 0 or (value == 0 and metric != "loss"):
        sys.exit(f"{name}: {metric} is {value}")
print(", ".join(f"{name} {found[name]['values'][metric]:.3g}" for name in names))
