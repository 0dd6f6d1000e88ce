"""The engine's protobuf classes, imported by way of the stand-in package (see `lazy`)."""

from appliance.worker.engine.lazy import install_package_stub

install_package_stub()

from neonize.proto import Neonize_pb2 as neonize_pb  # noqa: E402
from neonize.proto.waCompanionReg import WAWebProtobufsCompanionReg_pb2 as companion_pb  # noqa: E402
from neonize.proto.waE2E import WAWebProtobufsE2E_pb2 as e2e_pb  # noqa: E402

__all__ = ["companion_pb", "e2e_pb", "neonize_pb"]
