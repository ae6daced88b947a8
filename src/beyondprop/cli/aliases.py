"""YAML without aliases: nine lines with aliases can expand to more than the memory holds."""

import yaml


def check_no_aliases(text: str) -> None:
    """Raise an error if a YAML text has an alias, ``*name``, which refers to an anchor, ``&name``.

    Raises:
        yaml.YAMLError: The text has an alias, or is not YAML.
    """
    if "*" not in text:
        return
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise yaml.YAMLError(f"*{token.value} refers to another part: write that out instead")
