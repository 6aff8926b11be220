"""Takes secrets out of commands before people get to see them."""

REDACTED = b"(redacted)"
SECRET_PARAMETERS = frozenset(
    {
        b"requirepass",
        b"masterauth",
        b"masteruser",
        b"tls-key-file-pass",
        b"tls-client-key-file-pass",
    }
)


def redact(args: list[bytes]) -> list[bytes]:
    """Return `args` with passwords replaced; the same list when there are none."""
    name = args[0].lower()
    if name == b"auth":
        return [args[0], *(REDACTED for _ in args[1:])]
    if name == b"hello":
        return redact_hello(args)
    if name == b"config" and len(args) > 3 and args[1].lower() == b"set":
        shown = list(args)
        for at in range(2, len(args) - 1, 2):
            if args[at].lower() in SECRET_PARAMETERS:
                shown[at + 1] = REDACTED
        return shown
    return args


def redact_hello(args: list[bytes]) -> list[bytes]:
    """Hide user and password behind AUTH."""
    shown = list(args)
    for at in range(2, len(args)):
        if args[at].upper() == b"AUTH":
            shown[at + 1 : at + 3] = [REDACTED] * len(args[at + 1 : at + 3])
            break
    return shown
