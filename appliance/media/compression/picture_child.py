"""The process that reads pictures: `python -m appliance.media.compression.picture_child SOCKET`.

One message is one request, with the picture's and the result's descriptors; it opens no path of its own. It ends when
it was idle for a while, so that Pillow takes no memory when no picture comes.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

import msgspec

from appliance.media.compression.outcome import PictureReply, PictureRequest, Treatment
from appliance.media.compression.pictures import draw, squeeze

IDLE_S: Final = 20.0
"""A new process costs 0.2 s; pictures come in bursts."""
MAX_MESSAGE: Final = 4096


def serve(channel: socket.socket) -> None:
    """Until the other side closes, or nothing came for `IDLE_S`."""
    channel.settimeout(IDLE_S)
    while True:
        try:
            message, files, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 2)
        except TimeoutError:
            return
        if not message:
            return
        request = msgspec.json.decode(message, type=PictureRequest)
        source, target = files
        with os.fdopen(source, "rb") as picture, os.fdopen(target, "wb") as smaller:
            if request.box is not None:
                reply = draw(picture, smaller, request.box)
            elif request.profile is not None:
                reply = squeeze(picture, smaller, request.profile)
            else:
                reply = PictureReply(treatment=Treatment.ORIGINAL, detail="nothing was wanted")
        channel.send(msgspec.json.encode(reply))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
