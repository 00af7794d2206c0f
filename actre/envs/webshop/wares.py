"""The words of the generated shop: kinds of wares with their traits, options and price ranges.

generate.py draws products from these. Every name is invented or a plain English word; none comes from a real listing.
"""

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of ware.

    category: one of five. query: the search term, used in instructions. name: used in titles. path: the product
    category. low, high: price range in dollars. is_ (before the name), with_, for_: attribute phrases. options: name ->
    values to choose from.
    """

    category: str
    query: str
    name: str
    path: str
    low: int
    high: int
    is_: tuple[str, ...]
    with_: tuple[str, ...]
    for_: tuple[str, ...]
    options: dict[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _kind(
    category: str,
    query: str,
    name: str,
    path: str,
    price: tuple[int, int],
    is_: str,
    with_: str,
    for_: str,
    **options: str,
) -> Kind:
    root = ROOTS[category]
    choices = {key.replace("_", " "): _words(values) for key, values in options.items()}
    return Kind(category, query, name, f"{root} › {path}", *price, _words(is_), _words(with_), _words(for_), choices)


ROOTS = {
    "beauty": "Beauty & Personal Care",
    "electronics": "Electronics",
    "fashion": "Clothing, Shoes & Jewelry",
    "garden": "Home & Kitchen",
    "grocery": "Grocery & Gourmet Food",
}
"""Category -> the first part of its paths, in the order in which products are drawn."""

BRANDS = _words(
    "Arvelo, Bremsi, Calundra, Dorvane, Eskily, Fenmora, Galtrix, Hovelin, Istrana, Jorvika, Keldora, Lumbrel, "
    "Mervano, Nolvik, Ostrenna, Pelgrim, Quorvane, Rundell, Sevrina, Tolmark, Umbrasa, Vintolo, Wexley, Yarrona, "
    "Zelmira, Brindlow, Cresvale, Drumlin, Fellmark, Grenvik"
)

_BEAUTY = "paraben free, cruelty free, fragrance free, travel size"
_FOOD = "gluten free, non gmo, low sugar, certified organic, dairy free, individually wrapped"
_COLORS = "black, white, blue, red, green, grey, pink, brown"

KINDS: tuple[Kind, ...] = (
    _kind("beauty", "body lotions", "Body Lotion", "Skin Care › Body › Lotions", (6, 30), f"{_BEAUTY}, long lasting",
          "shea butter, coconut oil, vitamin e", "dry skin, sensitive skin, daily use",
          scent="lavender, vanilla, rose, unscented, citrus", size="4 ounce, 8 ounce, 16 ounce"),
    _kind("beauty", "shampoos", "Shampoo", "Hair Care › Shampoos", (8, 36), f"{_BEAUTY}, sulfate free",
          "argan oil, tea tree, coconut oil", "damaged hair, oily hair, fine hair",
          scent="mint, coconut, lavender, unscented", size="8 ounce, 12 ounce, 16 ounce, 32 ounce"),
    _kind("beauty", "lip balms", "Lip Balm", "Skin Care › Lips › Balms", (3, 18), f"{_BEAUTY}, long lasting",
          "seed oil, shea butter, vitamin e", "dry lips, winter days, daily use",
          flavor="cherry, mint, honey, berry, vanilla", pack="pack of 1, pack of 2, pack of 4"),
    _kind("beauty", "face masks", "Face Mask", "Skin Care › Face › Masks", (5, 40), f"{_BEAUTY}, alcohol free",
          "hyaluronic acid, green clay, aloe vera", "dark circles, oily skin, sensitive skin",
          pack="pack of 5, pack of 10, pack of 20", type="clay, sheet, gel"),
    _kind("beauty", "makeup brushes", "Makeup Brush Set", "Makeup › Brushes & Tools › Brush Sets", (9, 60),
          "cruelty free, easy clean, high quality, travel size, easy carry",
          "synthetic hair, wood handle, storage case", "eye shadow, loose powder, beginners",
          color=_COLORS, size="5 pieces, 8 pieces, 12 pieces"),
    _kind("beauty", "nail polishes", "Nail Polish", "Foot, Hand & Nail Care › Nail Polish", (4, 24),
          "quick drying, long lasting, cruelty free, non toxic, high gloss",
          "gel finish, wide brush, matte finish", "nail art, short nails, daily use",
          color="red, pink, black, white, purple, coral", size="single bottle, set of 3, set of 6"),
    _kind("beauty", "toothbrushes", "Toothbrush", "Oral Care › Toothbrushes", (3, 45),
          "bpa free, easy use, extra soft, travel size, eco friendly",
          "bamboo handle, charcoal bristles, tongue cleaner", "sensitive teeth, fresh breath, kids",
          color=_COLORS, pack="pack of 2, pack of 4, pack of 8"),
    _kind("beauty", "hair clips", "Hair Clip", "Hair Care › Hair Accessories › Clips", (4, 22),
          "non slip, easy use, high quality, light weight, strong hold",
          "pearl beads, metal teeth, velvet ribbon", "thick hair, fine hair, curly hair",
          color=_COLORS, pack="pack of 2, pack of 6, pack of 12"),
    _kind("electronics", "headphones", "Headphones", "Headphones › Over Ear Headphones", (19, 240),
          "noise cancelling, fast charging, hands free, light weight, water resistant",
          "stereo sound, carrying case, quick release", "long flights, phone calls, office work",
          color="black, white, blue, red, silver", style="wired, wireless"),
    _kind("electronics", "phone cases", "Phone Case", "Cell Phones & Accessories › Cases", (6, 48),
          "heavy duty, light weight, non slip, easy install, shock proof",
          "wireless charging, glass screen, card slot", "daily use, outdoor work, car mounts",
          color=_COLORS, size="5.4 inch, 6.1 inch, 6.7 inch"),
    _kind("electronics", "usb cables", "USB Cable", "Accessories & Supplies › Cables › USB Cables", (4, 32),
          "fast charging, high speed, heavy duty, gold plated, easy carry",
          "usb port, aluminum alloy, nylon braid", "data transfer, car chargers, gaming consoles",
          color="black, white, grey, red", size="3 feet, 6 feet, 10 feet", pack="pack of 1, pack of 2, pack of 3"),
    _kind("electronics", "bluetooth speakers", "Bluetooth Speaker", "Portable Audio › Bluetooth Speakers", (15, 190),
          "water resistant, hands free, high power, easy carry, dust proof",
          "stereo sound, long battery, carrying strap", "pool parties, home theater, camping trips",
          color="black, blue, red, green, orange", style="single, stereo pair"),
    _kind("electronics", "tripods", "Tripod", "Camera & Photo › Tripods", (14, 160),
          "light weight, quick release, easy carry, non slip, heavy duty",
          "carbon fiber, ball head, remote control", "travel photos, live video, night skies",
          color="black, silver, blue", size="42 inch, 55 inch, 70 inch"),
    _kind("electronics", "keyboards", "Keyboard", "Computers › Accessories › Keyboards", (18, 170),
          "plug play, water resistant, light weight, easy use, low noise",
          "number pad, wrist rest, usb port", "office work, gaming nights, small desks",
          color="black, white, grey, pink", style="wired, wireless", switch="red switch, blue switch, brown switch"),
    _kind("electronics", "power banks", "Power Bank", "Cell Phones & Accessories › Power Banks", (12, 90),
          "fast charging, high speed, light weight, easy carry, dust proof",
          "usb port, solar panel, led light", "camping trips, long flights, tablet computers",
          color="black, white, blue, green", capacity="5000 mah, 10000 mah, 20000 mah"),
    _kind("electronics", "screen protectors", "Screen Protector", "Accessories › Screen Protectors", (5, 28),
          "easy install, high definition, scratch proof, anti glare, ultra thin",
          "tempered glass, glue frame, cleaning cloth", "tablet computers, smart watches, car displays",
          size="5.4 inch, 6.1 inch, 6.7 inch, 10.9 inch", pack="pack of 1, pack of 2, pack of 3"),
    _kind("fashion", "women's sandals", "Women's Sandals", "Women › Shoes › Sandals", (14, 90),
          "open toe, non slip, light weight, hand made, water resistant",
          "rubber sole, ankle strap, arch support", "summer days, beach walks, daily wear",
          color="black, brown, white, pink, blue", size="6, 7, 8, 9, 10"),
    _kind("fashion", "men's shirts", "Men's Shirt", "Men › Clothing › Shirts", (12, 80),
          "machine wash, slim fit, long sleeve, short sleeve, wrinkle free",
          "button closure, chest pocket, cotton fabric", "office work, summer days, formal dinners",
          color=_COLORS, size="small, medium, large, x-large"),
    _kind("fashion", "running shoes", "Running Shoes", "Men › Shoes › Running", (30, 150),
          "light weight, non slip, quick drying, slip resistant, wide fit",
          "rubber sole, memory foam, arch support", "trail runs, gym workouts, daily wear",
          color="black, white, blue, grey, green", size="8, 9, 10, 11, 12"),
    _kind("fashion", "rain jackets", "Rain Jacket", "Women › Clothing › Coats › Rain Jackets", (24, 140),
          "water proof, light weight, machine wash, easy carry, wind proof",
          "long sleeve, storage pockets, hidden hood", "hiking trips, spring days, city walks",
          color="yellow, blue, black, green, red", size="small, medium, large, x-large"),
    _kind("fashion", "socks", "Socks", "Men › Clothing › Socks", (6, 36),
          "machine wash, quick drying, low cut, extra thick, non slip",
          "arch support, merino wool, cotton fabric", "winter days, hiking trips, gym workouts",
          color="black, white, grey, brown", size="small, medium, large", pack="3 pairs, 6 pairs"),
    _kind("fashion", "scarves", "Scarf", "Women › Accessories › Scarves", (8, 70),
          "hand wash, light weight, extra long, hand made, super soft",
          "merino wool, silk blend, tassel ends", "winter days, evening wear, city walks",
          color="red, blue, grey, green, white, brown", style="plain, striped, plaid"),
    _kind("fashion", "jeans", "Jeans", "Women › Clothing › Jeans", (20, 110),
          "machine wash, slim fit, wide leg, high waist, hand wash",
          "button closure, stretch fabric, deep pockets", "daily wear, casual fridays, city walks",
          color="blue, black, white, grey", size="26, 28, 30, 32, 34"),
    _kind("fashion", "backpacks", "Backpack", "Luggage & Travel Gear › Backpacks", (22, 130),
          "water resistant, light weight, heavy duty, easy carry, hand made",
          "laptop sleeve, chest strap, storage pockets", "school days, hiking trips, long flights",
          color="black, grey, blue, green, red", size="15 liter, 22 liter, 30 liter"),
    _kind("garden", "console tables", "Console Table", "Furniture › Living Room Furniture › Console Tables", (60, 420),
          "easy assemble, space saving, easy clean, hand made, fully assembled",
          "solid wood, metal legs, storage shelf", "living room, narrow hallways, dining room",
          color="brown, black, white, grey", size="39 inch, 47 inch, 55 inch"),
    _kind("garden", "table lamps", "Table Lamp", "Lighting & Ceiling Fans › Lamps › Table Lamps", (18, 160),
          "energy efficient, easy install, hand made, mid century, touch control",
          "glass shade, brass base, led bulb", "living room, night reading, guest rooms",
          color="white, black, gold, green", size="small, medium, tall"),
    _kind("garden", "throw pillows", "Throw Pillow", "Bedding › Decorative Pillows › Throw Pillows", (9, 55),
          "machine washable, double sided, super soft, hand made, eco friendly",
          "hidden zipper, linen cover, tassel ends", "living room, patio chairs, dining room",
          color=_COLORS, size="16 inch, 18 inch, 20 inch"),
    _kind("garden", "curtains", "Curtains", "Home Décor › Window Treatments › Curtains", (16, 95),
          "machine washable, energy efficient, easy install, noise reducing, eco friendly",
          "rod pocket, metal rings, linen fabric", "living room, dining room, baby rooms",
          color="white, grey, blue, green, red", size="63 inch, 84 inch, 96 inch"),
    _kind("garden", "area rugs", "Area Rug", "Home Décor › Rugs › Area Rugs", (35, 320),
          "non slip, easy clean, spot clean, stain resistant, hand made",
          "cotton backing, wool pile, fringe ends", "living room, dining room, high traffic",
          color="blue, grey, red, brown, green", size="3 x 5 feet, 5 x 7 feet, 8 x 10 feet"),
    _kind("garden", "storage baskets", "Storage Basket", "Storage & Organization › Baskets", (9, 60),
          "space saving, easy clean, hand made, heavy duty, eco friendly",
          "rope handles, hinged lid, cotton lining", "living room, baby rooms, laundry days",
          color="white, grey, brown, black", size="small, medium, large", pack="set of 1, set of 3"),
    _kind("garden", "planters", "Planter", "Patio, Lawn & Garden › Pots & Planters", (8, 75),
          "self watering, light weight, weather resistant, hand made, easy clean",
          "drain holes, wood stand, bamboo tray", "herb gardens, patio chairs, window sills",
          color="white, green, black, brown", size="6 inch, 8 inch, 12 inch"),
    _kind("garden", "bookcases", "Bookcase", "Furniture › Home Office Furniture › Bookcases", (45, 300),
          "easy assemble, space saving, heavy duty, scratch resistant, fully assembled",
          "solid wood, steel frame, glass doors", "living room, home office, small rooms",
          color="white, brown, black", size="3 shelves, 4 shelves, 5 shelves"),
    _kind("grocery", "granola", "Granola", "Breakfast Foods › Cereals › Granola", (5, 42), f"{_FOOD}, nut free",
          "chia seeds, whole grain, dried fruit", "quick breakfast, school snacks, keto diets",
          flavor="honey, maple, berry, vanilla, chocolate", size="12 ounce, 24 ounce, 36 ounce"),
    _kind("grocery", "green teas", "Green Tea", "Beverages › Tea › Green Tea", (4, 38), f"{_FOOD}, caffeine free",
          "natural flavors, real ginger, natural ingredients", "cold brewing, calm evenings, gift baskets",
          flavor="jasmine, lemon, mint, peach, plain", size="20 bags, 40 bags, 100 bags"),
    _kind("grocery", "ground coffees", "Ground Coffee", "Beverages › Coffee › Ground Coffee", (7, 46),
          "certified organic, fair trade, non gmo, low acid, freshly roasted",
          "natural flavors, dark cocoa, caramel notes", "cold brewing, french presses, early mornings",
          flavor="original, hazelnut, vanilla, caramel", roast="light roast, medium roast, dark roast"),
    _kind("grocery", "trail mixes", "Trail Mix", "Snack Foods › Trail Mix", (6, 44), f"{_FOOD}, plant based",
          "dried fruit, sea salt, dark cocoa", "hiking trips, school snacks, road trips",
          flavor="tropical, sweet, salty, spicy", size="8 ounce, 16 ounce, 32 ounce"),
    _kind("grocery", "pastas", "Pasta", "Pantry Staples › Pasta & Noodles", (3, 34), f"{_FOOD}, egg free",
          "whole grain, red lentils, durum wheat", "family dinners, cold salads, quick meals",
          shape="spaghetti, penne, fusilli, shells", pack="pack of 1, pack of 4, pack of 8"),
    _kind("grocery", "dark chocolates", "Dark Chocolate", "Snack Foods › Candy & Chocolate › Bars", (3, 40),
          f"{_FOOD}, fair trade", "sea salt, cocoa butter, roasted almonds", "gift baskets, baking days, keto diets",
          flavor="orange, mint, raspberry, plain, caramel", size="3 ounce, 6 ounce, 12 ounce"),
    _kind("grocery", "olive oils", "Olive Oil", "Pantry Staples › Cooking Oils › Olive", (8, 60),
          "certified organic, non gmo, cold pressed, gluten free, extra virgin",
          "glass bottle, pour spout, green olives", "cold salads, high heat, gift baskets",
          flavor="original, garlic, lemon, basil", size="8 ounce, 17 ounce, 34 ounce"),
    _kind("grocery", "protein bars", "Protein Bar", "Snack Foods › Bars › Protein Bars", (9, 50),
          f"{_FOOD}, high protein",
          "pea protein, cocoa butter, roasted almonds", "gym workouts, quick breakfast, road trips",
          flavor="peanut, chocolate, berry, lemon, coconut", pack="pack of 6, pack of 12, pack of 24"),
)  # fmt: skip
"""Every kind of ware, eight in each category."""

NOT_NOUNS = frozenset(
    word
    for line in (
        "free cruelty long lasting easy extra soft quick drying high low non slip light heavy strong thick",
        "fine curly dry oily damaged sensitive daily dark winter wide short matte synthetic loose fresh noise",
        "cancelling fast hands stereo wireless gold plated ultra thin anti scratch tempered smart live open",
        "hand made machine slim wrinkle formal hidden merino casual deep stretch solid space saving fully",
        "assembled mid double sided super eco friendly energy efficient white stain resistant hinged self",
        "watering drain whole dried natural certified organic fair roasted cold calm early french green real",
        "tropical red durum pressed virgin pour individually wrapped small narrow dining living with for and",
        "of is in x the",
    )
    for word in line.split()
)
"""Words of titles that do not count as nouns; all others do, brands included."""
