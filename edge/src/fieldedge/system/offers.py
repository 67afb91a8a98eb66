"""What installed packages offer by their entry points: things of one kind, each under a name."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fieldedge.system.errors import ConfigError


@dataclass(frozen=True)
class Offers:
    """All that is offered in a group of entry points. `remedy` is what to do where nothing is."""

    group: str
    kind: str  # in words: "workload"
    remedy: str

    def names(self) -> tuple[str, ...]:
        """The names, in order; none where nothing is installed."""
        return tuple(sorted({entry.name for entry in entry_points(group=self.group)}))

    def load(self, name: str) -> Any:
        """What is offered under a name.

        Raises:
            ConfigError: nothing is, two packages do, or it cannot be loaded.
        """
        entry = self._entry(name)
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the {self.kind} {name!r} cannot be loaded from {entry.value}: {error}") from error

    def nothing(self) -> ConfigError:
        """The error of a group in which nothing is offered."""
        return ConfigError(f"no {self.kind} is installed in this environment; {self.remedy}")

    def misnamed(self, name: str, own_name: str) -> ConfigError:
        """The error of what is offered under another name than its own."""
        value = self._entry(name).value
        return ConfigError(f"{value} calls itself {own_name!r}, and its entry point {name!r}; use one name")

    def _entry(self, name: str) -> EntryPoint:
        found = {entry.value: entry for entry in entry_points(group=self.group, name=name)}
        if not found and not (names := self.names()):
            raise self.nothing()
        if not found:
            raise ConfigError(
                f"there is no {self.kind} {name!r} in this environment; there is {', '.join(names)}. Install the "
                f"package that offers it as an entry point in {self.group!r}"
            )
        if len(found) > 1:
            raise ConfigError(
                f"two packages offer a {self.kind} {name!r}, {' and '.join(sorted(found))}; uninstall one of them"
            )
        return next(iter(found.values()))
