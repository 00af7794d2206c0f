"""The map: the colour is the gain, the symbol says whether its interval excludes 0."""

from actre.stats import Interval
from actre.view.map_plot import Place, gain_map

AT = Interval(0.5, 0.4, 0.6)


def place(name: str, gain: Interval | None) -> Place:
    return Place(name, AT, AT, gain, "words")


def test_colour_and_symbol_say_the_gain_and_its_interval() -> None:
    gains = [
        Interval(0.12, 0.02, 0.2),
        Interval(0.3, 0.1, 0.5),
        Interval(0.02, -0.1, 0.1),
        Interval(-0.12, -0.2, -0.1),
        None,
    ]
    figure = gain_map([place(str(i), gain) for i, gain in enumerate(gains)], "title")
    marks = [trace.marker for trace in figure.data]
    gained, more, little, lost, unknown, *key = marks
    assert [one.symbol for one in marks[:5]] == ["diamond", "diamond", "circle", "diamond", "circle-open"]
    assert gained.color == more.color == key[2].color  # 10 points and more are one colour
    assert lost.color == key[0].color != gained.color
    assert little.color not in (gained.color, lost.color, key[1].color, unknown.color)
