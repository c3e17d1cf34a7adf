"""Rules of config fields: what they accept, and what is said of values that they do not."""

import dataclasses
import math
from collections.abc import Mapping

import pytest

from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Number, OneOf, Shares, Text, Texts, Whole, field

ACCEPTED = [
    (OneOf(("a", "b")), ["a"], ["c", 1, None]),
    (rules.SWITCH, [True, False], ["True", None]),
    (Number(0, 1), [0, 0.5, 1], [-0.1, 1.1, "1", True, math.nan]),
    (Number(0, above=True), [1e-9, 7], [0, math.inf]),
    (Whole(1), [1, 10**9], [0, 1.0, True, "1"]),
    (Shares(), [(), (0.5,), [0.5, 0.9]], [(0.9, 0.5), (1.5,), 0.5]),
    (Text(), ["", "x"], [1, None]),
    (Texts(), [(), ("x",), ["x", "y"]], ["x", (1,)]),
    (rules.Fields(), [{}, {"a": 1}], [1, "a"]),
]


@pytest.mark.parametrize(("rule", "good", "bad"), ACCEPTED, ids=[str(a[0]) for a in ACCEPTED])
def test_rules_accept_what_they_say(rule, good, bad):
    assert all(rule.accepts(value) for value in good)
    assert not any(rule.accepts(value) for value in bad)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Whole(1), "a whole number of at least 1"),
        (Number(0, above=True), "a number above 0"),
        (Number(0, 1), "a number of at least 0 and at most 1"),
        (OneOf((1, 2)), "one of 1, 2"),
        (OneOf(("", "a")), "one of '', a"),
    ],
)
def test_rules_say_what_they_accept(rule, text):
    assert str(rule) == text


@dataclasses.dataclass(frozen=True)
class Engine:
    power: float = field(Number(0, above=True))
    gears: tuple[float, ...] = field(Shares(), default=())


@dataclasses.dataclass(frozen=True)
class Car:
    colour: str = field(Text())
    engine: Engine
    wheels: int = field(Whole(3), default=4)
    options: Mapping = rules.others(rules.Anything())


@dataclasses.dataclass(frozen=True)
class Extras:
    sunroof: bool = field(rules.SWITCH)


PLAIN = {"colour": "red", "engine": {"power": 3.5, "gears": [0.5, 1]}, "sunroof": True}


def test_a_section_and_its_plain_form():
    car = rules.section(Car, PLAIN)
    assert car == Car("red", Engine(3.5, (0.5, 1)), 4, {"sunroof": True})
    plain = rules.to_dict(car)
    assert plain == PLAIN | {"wheels": 4, "engine": {"power": 3.5, "gears": (0.5, 1)}}
    assert rules.section(Car, plain) == car
    assert rules.names(Car) == ["colour", "engine", "engine.power", "engine.gears", "wheels"]
    assert rules.section(Extras, car.options, beside=Car) == Extras(True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wheels": 2}, "config.wheels=2 must be a whole number of at least 3"),
        ({"engine": {}}, "the config lacks engine.power, a number above 0"),
        ({"engine": 5}, "config.engine=5 must be a section of fields"),
        (
            {"engine": {"power": 1, "gear": ()}},
            "unknown config field engine.gear; did you mean engine.gears?",
        ),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(UserError) as error:
        rules.section(Car, PLAIN | change)
    assert str(error.value) == message


def test_a_missing_section_is_named():
    with pytest.raises(UserError, match="the config lacks engine, a section of fields"):
        rules.section(Car, {"colour": "red"})


def test_an_unknown_field_may_be_one_of_those_beside():
    with pytest.raises(UserError) as error:
        rules.section(Extras, {"sunroof": True, "wheelz": 3}, "car.", beside=Car)
    assert str(error.value) == "unknown config field car.wheelz; did you mean car.wheels?"
    with pytest.raises(UserError) as error:
        rules.section(Extras, {"sunroof": True, "xyz": 3}, "car.")
    assert str(error.value) == "unknown config field car.xyz"


def test_buckets_of_google_alone_are_paths():
    for path in ("gs://bucket/a:/b", "a:b", "gs://a/x,gs://b/y"):
        assert rules.expand(path, "--input") == path
    for path in ("s3://a/b", "https://a", "gsx://a", "gs://a/x,az://b/y"):
        scheme = path.split(",")[-1].partition("//")[0] + "//"
        with pytest.raises(UserError) as error:
            rules.expand(path, "--input")
        assert str(error.value).startswith(f"--input={path}: {scheme} is not supported; ")
