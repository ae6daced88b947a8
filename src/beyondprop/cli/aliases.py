"""YAML without references: nine lines of them can stand for more than any memory holds."""

import yaml


def check_no_aliases(text: str) -> None:
    """See that no part of a YAML text refers to another one, as ``*name`` does to ``&name``.

    Raises:
        yaml.YAMLError: One does, or the text is no YAML.
    """
    if "*" not in text:
        return
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise yaml.YAMLError(f"*{token.value} refers to another part: write that out instead")
