"""The templates of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beyondprop.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """Return what reads the templates; text is escaped, and a missing value is an error.

    Raises:
        UserError: The `report` extra is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise UserError('the report needs jinja2; pip install "beyondprop[report]"') from error
    return Environment(
        loader=PackageLoader("beyondprop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
