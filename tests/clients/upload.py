"""Copies a folder to a bucket of an S3-compatible store: upload.py FOLDER s3://BUCKET/PREFIX [ENDPOINT]

The log of a Delta table goes last, so that a reader never sees a version whose files are not there yet. Credentials are those of the
environment; a local test store takes any.
"""

import os
import sys
from pathlib import Path

import boto3

folder, target, *endpoint = sys.argv[1:]
bucket, _, prefix = target.removeprefix("s3://").partition("/")
if endpoint:
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    os.environ.setdefault("AWS_REGION", "us-east-1")
s3 = boto3.client("s3", endpoint_url=endpoint[0] if endpoint else None, region_name=os.environ.get("AWS_REGION"))
files = [path for path in Path(folder).rglob("*") if path.is_file()]
for path in sorted(files, key=lambda path: ("_delta_log" in path.parts, path)):
    s3.upload_file(str(path), bucket, f"{prefix.strip('/')}/{path.relative_to(folder)}")
print(f"{len(files)} files")
