"""Which code a step runs, as a hash: of its function, of every module of ours that it can reach by an import, and of
the versions of the libraries that those import. Workloads are imported by nobody: whoever reaches a registry of entry
points (`REGISTRIES`) reaches all that are installed, wherever their packages lie.

Found by reading the source, never by importing it. Comments and docstrings do not count, since they change nothing that
happens, and neither does what only shows it: `SHOWING`, and the package `report` in or beside the module that an entry
point of a workload names. Where many steps stand in one module (`GATHERING`) a step counts only the functions that it
uses; elsewhere a module counts as a whole, together with the packages that it lies in, because importing it runs those
as well.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from fieldedge.system.errors import ConfigError

PACKAGES = ("fieldedge", "fieldloop", "tasks")
GATHERING = ("tasks",)
REGISTRIES = ("fieldedge.workloads", "fieldloop.workloads")  # modules, and the groups of entry points that they look up
SHOWING = ("tasks.artifacts", "tasks.caching", "fieldloop.core.console", "fieldloop.core.process_setup")
_DIGITS = 12
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_hash(function: str, roots: tuple[Path, ...] | None = None) -> str:
    """12 hex digits over the code that a function runs.

    Args:
        function: like `tasks.learning:train_model`; a module's name alone is the whole module.
        roots: the folders that hold the packages; where this one was imported from, unless said.

    Raises:
        ConfigError: there is no such function or module.
    """
    return _hash(function, roots or _own_roots())


@cache
def _hash(function: str, roots: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    reach = _Reach(roots)
    for name, text in sorted(reach.of(function).items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(text.encode()).digest())
    digest.update(" ".join(f"{name}=={_version(name)}" for name in sorted(reach.libraries)).encode())
    return digest.hexdigest()[:_DIGITS]


@cache
def _version(library: str) -> str:
    """The installed version of the distribution that is called as it is imported; of another name, none is known."""
    try:
        return metadata.version(library).partition("+")[0]  # a build for CPU or CUDA is the same version
    except metadata.PackageNotFoundError:
        return "?"


def reached(function: str, roots: tuple[Path, ...] | None = None) -> list[str]:
    """The modules and functions that count for a function, by name, sorted."""
    return sorted(_Reach(roots or _own_roots()).of(function))


def _own_roots() -> tuple[Path, ...]:
    import fieldedge

    src = Path(__file__).resolve().parents[2]
    return src, Path(str(fieldedge.__file__)).resolve().parent.parent, src.parent


@dataclass(frozen=True)
class _Source:
    """One module as it was read: its plain text without comments and docstrings, its functions and its imports."""

    name: str
    path: Path
    tree: ast.Module
    text: str
    definitions: dict[str, ast.stmt]
    imports: tuple[tuple[str, str | None], ...]
    read_as_text: tuple[str, ...]


@dataclass
class _Reach:
    roots: tuple[Path, ...]
    found: dict[str, str] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)
    packages: tuple[str, ...] = PACKAGES
    looked_up: set[str] = field(default_factory=set)
    reports: set[str] = field(default_factory=set)

    def of(self, function: str) -> dict[str, str]:
        """Every module and function that is reached, with its text."""
        module, _, name = function.partition(":")
        if not name:
            self._wherever(module)
            if not self.found:
                raise ConfigError(f"there is no module {module}; its code cannot be named")
        elif not self._definition(module, name):
            raise ConfigError(f"there is no function {name} in {module}; its code cannot be named")
        return self.found

    def _read(self, name: str) -> _Source | None:
        return _read(name, self.roots) if name.split(".")[0] in self.packages else None

    def _module(self, name: str, is_around: bool = False) -> bool:
        """Count a whole module, the packages around it, and what they import.

        Args:
            is_around: it is only a package around what was imported; a registry looks nothing up then.
        """
        source = self._read(name)
        if source is None:
            return False
        if name in REGISTRIES and not is_around and name not in self.looked_up:
            self.looked_up.add(name)
            for workload in _entry_points(name):
                self.reports |= {f"{workload}.report.", f"{workload.rpartition('.')[0]}.report."}
                self._wherever(workload)
        if name in self.found:
            return True
        self.found[name] = source.text
        parent = name.rpartition(".")[0]
        if parent:
            self._module(parent, is_around=True)
        for imported in source.imports:
            self._import(*imported)
        for read in source.read_as_text:
            self._module(f"{name if source.path.name == '__init__.py' else parent}.{read}")
        return True

    def _wherever(self, module: str) -> None:
        """Count a module, of our packages or of one that an entry point names, and what it imports of its own."""
        package = module.partition(".")[0]
        spec = find_spec(package) if package not in self.packages else None
        if spec is not None and spec.origin is not None:
            self.packages += (package,)
            here = Path(spec.origin).parent
            self.roots += (here.parent if spec.submodule_search_locations else here,)
        self._import(module, None)

    def _definition(self, module: str, name: str) -> bool:
        """Count one function, class or constant of a gathering module, and what it uses."""
        source = self._read(module)
        if source is None or name not in source.definitions:
            return False
        key = f"{module}:{name}"
        if key in self.found:
            return True
        node = source.definitions[name]
        self.found[key] = ast.unparse(node)
        outside = {alias: target for target, alias in _aliases(source)}
        for imported in _imports(node):
            self._import(*imported)
        for used, attribute in _names(node):
            if used in outside:
                target_module, target_name = outside[used]
                self._import(target_module, target_name, attribute)
            else:
                self._definition(module, used)
        return True

    def _import(self, module: str, name: str | None, attribute: str | None = None) -> None:
        """What `from module import name` brings, or `module.attribute` where the name is a module itself."""
        if name is not None and self._read(f"{module}.{name}") is not None:
            module, name = f"{module}.{name}", attribute
        library = module.split(".")[0]
        if library not in self.packages:
            if library not in sys.stdlib_module_names:
                self.libraries.add(library)
            return
        if module in SHOWING or f"{module}.".startswith(tuple(self.reports)):
            return
        if _is_gathering(module) and name is not None:
            self._definition(module, name)
        else:
            self._module(module)


def _entry_points(group: str) -> list[str]:
    """The modules of a group's entry points, in order."""
    return sorted({entry.module for entry in metadata.entry_points(group=group)})


def _is_gathering(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in GATHERING)


@cache
def _read(name: str, roots: tuple[Path, ...]) -> _Source | None:
    for root in roots:
        place = root.joinpath(*name.split("."))
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return _parsed(name, path)
    return None


@cache  # whatever other folders are reached besides
def _parsed(name: str, path: Path) -> _Source:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError) as error:
        raise ConfigError(f"{path} cannot be read as Python: {error}") from error
    for node in chain([tree], _statements(tree)):
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]  # it brings names for the type checker alone
    definitions: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for defined in _defined(statement):
            definitions[defined] = statement
    text = ast.unparse(tree)
    read_as_text = tuple(_read_as_text(tree, path.parent)) if ".py'" in text else ()
    return _Source(name, path, tree, text, definitions, tuple(_imports(tree)), read_as_text)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement below a node, whatever it stands in, each before those below it."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, block, ()):
            yield statement
            yield from _statements(statement)


def _read_as_text(tree: ast.Module, folder: Path) -> Iterator[str]:
    """Modules of the same folder that are named as files, to be translated or compiled: `folder / "day.py"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            name = node.value.removesuffix(".py")
            if name.isidentifier() and (folder / node.value).is_file():
                yield name


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Module and name of every import below a node, wherever it stands."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, None) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, item.name) for item in node.names)


def _aliases(source: _Source) -> Iterator[tuple[tuple[str, str | None], str]]:
    """What the module's own top-level imports are called in it."""
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            yield from (((item.name, None), (item.asname or item.name).split(".")[0]) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (((node.module, item.name), item.asname or item.name) for item in node.names)


def _names(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Every name that is read, with the attribute that is asked of it, if one is."""
    owners = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owners.add(node.value)
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in owners:
            yield node.id, None
