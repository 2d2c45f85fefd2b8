"""Reads what /metrics answers with Prometheus's own parser, and prints it as JSON: {name: {type, help, value}}; of a metric with labels
{name{label="value",...}: ...}, the labels in their order."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        name = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert name not in found, sample
        found[name] = {"type": family.type, "help": family.documentation, "value": sample.value}
json.dump(found, sys.stdout)
