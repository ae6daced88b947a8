"""The one exception that a user of the library can cause and mend."""


class UserError(Exception):
    """Something the caller asked for cannot be done; the message says what to do instead.

    The command line prints the message alone and exits with code 2.
    """
