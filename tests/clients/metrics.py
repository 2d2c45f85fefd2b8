"""Reads what /metrics answers with Prometheus's own parser, and prints it as JSON: {name: {type, help, value}}."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        assert sample.name not in found and not sample.labels, sample
        found[sample.name] = {"type": family.type, "help": family.documentation, "value": sample.value}
json.dump(found, sys.stdout)
