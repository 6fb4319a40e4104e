"""CIM-NET against the FastDVDnet block on every shipped chip that can hold them."""
