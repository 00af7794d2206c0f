"""Where things usually are: a prior for the generator's placement and the expert's "likely" search.

Classes are in lower case. Which object fits in which receptacle is in wheel.py.
"""

_KITCHEN_SURFACE = ("countertop", "diningtable")
_FOOD = ("fridge", *_KITCHEN_SURFACE)
_CUTLERY = ("drawer", *_KITCHEN_SURFACE)
_CROCKERY = ("cabinet", "countertop", "sinkbasin")
_COOKWARE = ("stoveburner", "cabinet", "countertop")
_SMALL = ("drawer", "desk", "sidetable", "dresser")
_READING = ("desk", "bed", "sofa", "coffeetable", "shelf")
_DECOR = ("shelf", "coffeetable", "tvstand", "sidetable", "dresser")
_WASH = ("sinkbasin", "bathtubbasin", "countertop", "toilet")
_BATH_STORE = ("cabinet", "toilet", "countertop", "cart")

USUAL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("apple", "bread", "egg", "lettuce", "potato", "tomato"), _FOOD),
    **dict.fromkeys(("butterknife", "fork", "knife", "ladle", "spatula", "spoon"), _CUTLERY),
    **dict.fromkeys(("bowl", "cup", "mug", "plate"), _CROCKERY),
    **dict.fromkeys(("kettle", "pan", "pot"), _COOKWARE),
    **dict.fromkeys(("peppershaker", "saltshaker"), ("cabinet", *_KITCHEN_SURFACE)),
    **dict.fromkeys(("glassbottle", "winebottle"), ("fridge", "cabinet", "countertop")),
    **dict.fromkeys(("cd", "cellphone", "creditcard", "keychain", "pen", "pencil", "watch"), _SMALL),
    **dict.fromkeys(("book", "laptop", "newspaper"), _READING),
    **dict.fromkeys(("remotecontrol",), ("sofa", "armchair", "coffeetable", "tvstand")),
    **dict.fromkeys(("box", "statue", "tissuebox", "vase", "wateringcan", "candle"), _DECOR),
    **dict.fromkeys(("pillow",), ("bed", "sofa", "armchair")),
    **dict.fromkeys(("alarmclock",), ("sidetable", "desk", "dresser")),
    **dict.fromkeys(("baseballbat", "basketball", "tennisracket"), ("bed", "armchair", "ottoman")),
    **dict.fromkeys(("cloth", "dishsponge", "soapbar"), _WASH),
    **dict.fromkeys(("soapbottle", "spraybottle", "toiletpaper", "toiletpaperroll", "plunger"), _BATH_STORE),
    **dict.fromkeys(("handtowel",), ("handtowelholder", "countertop", "cabinet")),
    **dict.fromkeys(("towel",), ("towelholder",)),
    **dict.fromkeys(("desklamp",), ("desk", "sidetable", "dresser")),
}
# bins and machines rarely hold a task's object
RARE = ("coffeemachine", "garbagecan", "microwave", "toaster")


def usual(thing: str, receptacle: str) -> float:
    """The relative weight of finding `thing` in one receptacle of that class: 8, 1 or 0.5.

    >>> usual("lettuce", "fridge"), usual("lettuce", "cabinet"), usual("lettuce", "garbagecan")
    (8.0, 1.0, 0.5)
    """
    if receptacle in USUAL.get(thing, ()):
        return 8.0
    return 0.5 if receptacle in RARE else 1.0
