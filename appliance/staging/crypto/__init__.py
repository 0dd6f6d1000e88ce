"""The cryptography of the protocol, from the point of view of WhatsApp's servers and of other people's phones."""
