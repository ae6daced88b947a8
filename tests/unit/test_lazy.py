"""The names that packages show."""

import pytest

import beyondprop as bp

PACKAGES = [name for name in dir(bp) if hasattr(getattr(bp, name), "__path__")]


def test_the_library_shows_its_public_names() -> None:
    assert dir(bp) == sorted(vars(bp)["__all__"])
    assert "tasks" in PACKAGES


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_shows_its_public_names_alone(name: str) -> None:
    package = getattr(bp, name)
    assert dir(package) == sorted(package.__all__)
    assert [each for each in dir(package) if each.startswith("_")] == []
    assert [each for each in dir(package) if not hasattr(package, each)] == []
