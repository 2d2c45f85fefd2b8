"""moto's buckets by the XML API of Google Cloud Storage: gcs.py KEY-FILE MOTO-ARGUMENTS

Google's XML API reads, puts and lists objects as S3 does (https://cloud.google.com/storage/docs/interoperability). Two things differ for a gateway:

- Who asks is told by a bearer token. A service account may sign one by itself (https://google.aip.dev/auth/4111): a JWT by RS256, with the account as
  `iss` and `sub`. KEY-FILE is made anew, in the form in which Google hands such keys out, and every token is held against it.
- An object is put only if there is none by `x-goog-if-generation-match: 0`, which is `If-None-Match: *` of S3
  (https://cloud.google.com/storage/docs/request-preconditions).

Calls that are signed for S3 pass as they are, as Google lets them: other software reads the same buckets so.
"""

import base64
import json
import sys
import time
from http import HTTPStatus
from pathlib import Path

import s3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

ACCOUNT = "ledger@tollgate-tests.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
# moto lets nobody read who has not signed for S3; it does not look at the signature.
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
dispatch = DomainDispatcherApplication.__call__


def bytes_of(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def problem(authorization):
    """What is wrong with a bearer token; None if nothing is."""
    scheme, _, token = authorization.partition(" ")
    parts = token.split(".")
    if scheme != "Bearer" or len(parts) != 3:
        return "no JWT as a bearer token"
    try:
        KEY.public_key().verify(bytes_of(parts[2]), ".".join(parts[:2]).encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return "not signed by the account's key"
    claims = json.loads(bytes_of(parts[1]))
    if (claims["iss"], claims["sub"], claims["scope"]) != (ACCOUNT, ACCOUNT, SCOPE):
        return f"claims of somebody else: {claims}"
    return None if claims["iat"] - 60 <= time.time() < claims["exp"] else "out of date"


def application(self, environ, start_response):
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    makes_bucket = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].strip("/").count("/") == 0
    if not authorization.startswith("AWS4-HMAC-SHA256") and not makes_bucket:
        if wrong := problem(authorization):
            start_response(f"401 {HTTPStatus.UNAUTHORIZED.phrase}", [("Content-Type", "application/xml")])
            return [f"<Error><Code>AuthenticationRequired</Code><Message>{wrong}</Message></Error>".encode()]
        environ["HTTP_AUTHORIZATION"] = SIGNED
    generation = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
    if generation == "0":
        environ["HTTP_IF_NONE_MATCH"] = "*"
    elif generation is not None:
        start_response(f"501 {HTTPStatus.NOT_IMPLEMENTED.phrase}", [])
        return [f"generation {generation} is not told by moto".encode()]
    return dispatch(self, environ, start_response)


if __name__ == "__main__":
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    Path(sys.argv[1]).write_text(
        json.dumps({"type": "service_account", "client_email": ACCOUNT, "private_key_id": "1", "private_key": pem.decode()})
    )
    DomainDispatcherApplication.__call__ = application
    s3.main(sys.argv[2:])
