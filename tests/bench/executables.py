"""Links what cargo built into a folder by plain names: cargo build --message-format json | executables.py FOLDER"""

import json
import os
import sys
from pathlib import Path

folder = Path(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") == "compiler-artifact" and message.get("executable"):
        link = folder / message["target"]["name"]
        link.unlink(missing_ok=True)
        # A copy, not a link to cargo's file: another checkout's build may replace that one during the run.
        try:
            os.link(message["executable"], link)
        except OSError:
            link.symlink_to(message["executable"])
        print(link, file=sys.stderr)
