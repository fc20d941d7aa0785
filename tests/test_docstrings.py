"""The API reference is made from docstrings: everything public has one of its own."""

import importlib
import inspect

import pytest

from actors.stores import Disk

FACES = ("actors", "actors.greenroom", "actors.session", "actors.stores", "actors.testing")


def public(face):
    """Each public name of a face, and each public method and property of its classes. What a disk
    does is said once, in `Disk`.
    """
    module = importlib.import_module(face)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield f"{face}.{name}", thing
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                is_property = isinstance(value, property)
                if thing is not Disk and hasattr(Disk, method):
                    continue
                if not method.startswith("_") and (is_property or inspect.isfunction(value)):
                    yield f"{face}.{name}.{method}", value.fget if is_property else value


def documented(thing):
    """A text that says more than a dataclass's signature."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return bool(text) and not text.startswith(f"{thing.__name__}(")


@pytest.mark.parametrize("face", FACES)
def test_everything_public_is_described(face):
    names = dict(public(face))
    assert len(names) > 3
    assert [name for name, thing in names.items() if not documented(thing)] == []
