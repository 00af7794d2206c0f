"""WebShop with the official products, goals and reward, without Java and hundreds of times faster.

`WebshopEnv`, `Snapshot`, `Catalogue`, `read_catalogue` and `open_catalogue` are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.envs.webshop.catalogue import Catalogue, read_catalogue
    from actre.envs.webshop.env import Snapshot, WebshopEnv
    from actre.envs.webshop.importer import open_catalogue

__all__ = ["Catalogue", "Snapshot", "WebshopEnv", "open_catalogue", "read_catalogue"]


def __getattr__(name: str) -> Any:
    if name in ("WebshopEnv", "Snapshot"):
        from actre.envs.webshop import env

        return getattr(env, name)
    if name == "open_catalogue":
        from actre.envs.webshop import importer

        return importer.open_catalogue
    if name in __all__:
        from actre.envs.webshop import catalogue

        return getattr(catalogue, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
