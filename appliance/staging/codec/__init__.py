"""The shapes of bytes on the wire: addresses, binary XML, protobuf. Pure functions, no keys and no I/O."""
