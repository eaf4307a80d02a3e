"""Rules of the house that no single file can hold: floors, circles, sizes, forbidden calls, keys without a reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcompress.config.families import FAMILIES
from rlcompress.config.files import load_run
from rlcompress.config.keys import leaves

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("rlcompress", "envs", "policies", "cluster", "serve")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def show(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


# ------------------------------------------------------------------------------------------------ imports


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those under `if TYPE_CHECKING:`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from runtime_nodes(node)


def imported(tree: ast.AST, modules: dict[str, Path]) -> set[str]:
    """Modules of ours that a file imports, late imports included: those only hide a circle."""
    found: set[str] = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found |= {whole if whole in modules else node.module} & modules.keys()
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of the graph as a list of names, or nothing."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for below in sorted(graph[name]):
            if found := walk(below, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_no_files_import_in_a_circle():
    graph = {name: imported(TREES[path], MODULES) for name, path in MODULES.items()}
    assert circle(graph) == []


def test_the_circle_finder_finds_circles():
    modules = {name: Path(name) for name in ("a", "a.b", "a.c", "a.d")}
    files = {
        "a": "def f():\n    from a.b import x",
        "a.b": "from a import c",
        "a.c": "from __future__ import annotations\nimport a.d",
        "a.d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.b import x",
    }
    graph = {name: imported(ast.parse(text), modules) for name, text in files.items()}
    assert graph == {"a": {"a.b"}, "a.b": {"a.c"}, "a.c": {"a.d"}, "a.d": set()}
    assert circle(graph) == []
    assert circle(graph | {"a.d": {"a.b"}}) == ["a.b", "a.c", "a.d", "a.b"]


def test_only_the_command_line_of_the_ground_floor_names_higher_floors():
    higher = tuple(f"{floor}." for floor in FLOORS[1:])
    for path in SOURCES:
        if path.is_relative_to(ROOT / "rlcompress") and path.name != "__main__.py":
            for node in ast.walk(TREES[path]):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(f"{name}.".startswith(higher) for name in names), show(path, node)


# ------------------------------------------------------------------------------------------------ forbidden


FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# Runs what a model wrote: its text is started inside a jail; nothing else calls its `answer`.
IN_THE_JAIL = ROOT / "rlcompress" / "sandbox" / "inside.py"
FORBIDDEN_CALLS = {"torch.load", "torch.save", "np.load", "numpy.load", "eval", "exec", "hash", "yaml.unsafe_load"}


def faults(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    in_hash = {n for f in ast.walk(tree) if getattr(f, "name", "") == "__hash__" for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            yield from ((node, name) for name in names & FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield node, str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS and not (name == "hash" and node in in_hash):
                yield node, name
            for keyword in node.keywords:
                literal = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in ("trust_remote_code", "allow_pickle") and literal is True:
                    yield node, f"{keyword.arg}=True"


def test_nothing_unpickles_or_runs_code_from_data():
    found = [
        f"{show(path, node)} {what}" for path in SOURCES if path != IN_THE_JAIL for node, what in faults(TREES[path])
    ]
    assert found == []
    assert {what for _, what in faults(TREES[IN_THE_JAIL])} == {"exec", "eval"}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    return torch.load(p, weights_only=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "np.load(p)",
        "hash('x')",
    ],
)
def test_the_search_finds_planted_faults(text):
    assert len(list(faults(ast.parse(text)))) == 1


def test_the_search_lets_a_class_be_hashable():
    assert list(faults(ast.parse("class A:\n    def __hash__(self):\n        return hash(self.x)"))) == []


# ------------------------------------------------------------------------------------------------ sizes, names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_nothing_is_called_utils():
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "base"}
    assert [str(path) for path in SOURCES if vague & set(path.relative_to(ROOT).with_suffix("").parts)] == []


# ------------------------------------------------------------------------------------------------ configuration


# Keys that no line names, and what reads them.
READ_BY_LOOP = {
    "tracking.jsonl": "may only be true: it says in the file what cannot be turned off",
    "data.splits.train": "getattr over SPLITS in rlcompress/data/splits.py",
    "data.splits.validation": "getattr over SPLITS in rlcompress/data/splits.py",
    "data.splits.test": "getattr over SPLITS in rlcompress/data/splits.py",
    "data.question_field": "getattr in rlcompress/data/records.py",
    "data.answer_field": "getattr in rlcompress/data/records.py",
}


def names_read() -> set[str]:
    """Names read as `section.name`, or as `settings["name"]` of a section that crossed a process as a mapping."""
    names: set[str] = set()
    for path, tree in TREES.items():
        if path.parent.name != "config" or path.name == "files.py":  # a rule among keys is no use of them
            nodes = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Load)]
            names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            names |= {
                node.slice.value
                for node in nodes
                if isinstance(node, ast.Subscript)
                and isinstance(node.slice, ast.Constant)
                and isinstance(node.slice.value, str)
            }
    return names


def test_every_key_of_the_schemas_has_a_reader():
    read = names_read()
    keys = {".".join(leaf): leaf[-1] for family in FAMILIES.values() for leaf in leaves(family)}
    assert set(READ_BY_LOOP) <= set(keys)
    assert sorted(key for key, name in keys.items() if name not in read and key not in READ_BY_LOOP) == []


def test_every_shipped_configuration_loads():
    shipped = sorted((ROOT / "tune_configs").rglob("*.yaml"))
    assert shipped
    for path in shipped:
        assert type(load_run(path)) in FAMILIES.values(), path
