"""moto's server of Amazon S3, one put at a time: s3.py MOTO-ARGUMENTS

moto looks whether an object is there and then writes it, on as many threads as there are requests, so of two conditional puts at once both may win (moto
5.2.5, `S3Response.put_object`), which S3 rules out. With `sys.setswitchinterval(1e-6)` two of 500 races of four puts had several winners, and none with the
lock below.
"""

import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

ONE = threading.Lock()
put_object = S3Response.put_object


def alone(self):
    with ONE:
        return put_object(self)


S3Response.put_object = alone
if __name__ == "__main__":
    main(sys.argv[1:])
