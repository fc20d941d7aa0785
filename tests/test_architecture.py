"""The house: which room may import which. A new arrow is a new line here, and is argued for."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text()
EXTRAS = ("local", "otel", "tools")

CORE = {"actors._core"}
KIND = {"actors", "actors.stores", "actors.viewer"}
# Room -> the rooms it may import, besides itself. The longest name that fits is a module's room.
ROOMS: dict[str, set[str]] = {
    "actors._core": set(),
    "actors.stores": set(),
    "actors.viewer": set(),
    "actors.index.messages": {"actors", "actors.viewer"},
    "actors.index": KIND | {"actors.index.messages"},
    "actors.session": KIND | {"actors.index.messages"},
    "actors.projects.messages": {"actors", "actors.viewer"},
    "actors.projects": KIND | {"actors.projects.messages"},
    "actors.search.messages": {"actors", "actors.viewer"},
    "actors.search": KIND | {"actors.search.messages"},
    "actors.schema": {"actors.stores"},
    "actors.greenroom": KIND
    | {"actors.schema"}
    | {"actors.index", "actors.index.messages", "actors.session", "actors.projects"}
    | {"actors.search", "actors.search.messages"},
    "actors.doctor": KIND
    | {"actors.schema", "actors.index", "actors.session", "actors.projects", "actors.search"}
    | {"actors.index.messages", "actors.projects.messages", "actors.search.messages"},
    "actors.testing": KIND | {"actors.index", "actors.session", "actors.greenroom"},
    "actors": CORE,  # the face
    "app": KIND
    | {"actors.index.messages", "actors.session", "actors.greenroom"}
    | {"actors.projects.messages", "actors.search.messages"}
    | {"actors.doctor", "actors.schema"},
}
# Who else may be imported, by whom.
OUTSIDE: dict[str, tuple[str, ...]] = {
    "quart": ("app",),
    "quart_trio": ("app",),
    "hypercorn": ("app.server", "app.http1"),
    "h11": ("app.http1",),
    "werkzeug": ("app.http_errors",),
    "httpx": ("app.agents", "app.commands"),
    "httpx_sse": ("app.agents", "app.commands"),
    "click": ("app.cli", "app.commands", "app.run"),
    "jinja2": ("app.export_html",),
    "markdown_it": ("app.export_html",),
    "opentelemetry": ("app.traces",),
    "prometheus_client": ("app.metrics",),
    "sqlite3": ("actors.search", "actors.doctor"),
    "pytest": ("actors.testing.plugin",),
    "argon2": ("app.authority.secrets",),
    "xllamacpp": ("app.agents.llama_server",),
    "mcp": ("app.tools.server",),
    "mcp_types": ("app.tools.server",),
    "httpx2": ("app.tools.server",),
    "anyio": ("app.tools.server",),
}
# Part of what a package that is declared shows of itself.
COMES_WITH = {
    "outcome": "trio",
    "markupsafe": "jinja2",
    "werkzeug": "quart",
    "mcp-types": "mcp",
}
# No clock, no task, no web: these are plain functions and data.
PURE = (
    "actors._core.lifecycle",
    "actors._core.restart",
    "actors.index.file",
    "actors.index.listing",
    "actors.index.messages",
    "actors.index.rows",
    "actors.projects.messages",
    "actors.search.messages",
    "actors.search.text",
    "actors.session.amendments",
    "actors.session.answer",
    "actors.session.approvals",
    "actors.session.context",
    "actors.session.copies",
    "actors.session.dumping",
    "actors.session.endings",
    "actors.session.entries",
    "actors.session.events",
    "actors.session.messages",
    "actors.session.operations",
    "actors.session.record",
    "actors.session.refusals",
    "actors.session.reports",
    "actors.session.state",
    "actors.session.titles",
    "actors.session.transcript",
    "actors.session.waiting",
    "actors.stores.frames",
    "actors.viewer",
    "app.agents.chunks",
    "app.agents.provider_errors",
    "app.authority.hosts",
    "app.authority.throttle",
    "app.agents.tool_calls",
    "app.bodies",
    "app.busy",
    "app.config",
    "app.openai_api.chunks",
    "app.openai_api.errors",
    "app.openai_api.events",
    "app.openai_api.items",
    "app.openai_api.names",
    "app.openai_api.paging",
    "app.openai_api.requests",
    "app.openai_api.retold",
    "app.openai_api.schemas",
    "app.past",
    "app.redaction",
    "app.tools.config",
    "app.tools.results",
    "app.views",
)


def modules():
    for top in ("actors", "app"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name, path):
    """Every module that is imported, also under TYPE_CHECKING and inside functions."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in NAMES else base


MODULES = dict(modules())
NAMES = set(MODULES)


def within(name, room):
    return name == room or name.startswith(room + ".")


def room_of(name):
    fitting = [room for room in ROOMS if within(name, room)]
    return max(fitting, key=len) if fitting else None


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_module_imports_only_what_its_room_may(name):
    room = room_of(name)
    assert room is not None, f"{name} has no room: name one in ROOMS"
    assert room != "actors" or name == "actors", f"{name} lies in the hall: name a room for it"
    for imported in imports(name, MODULES[name]):
        top = imported.split(".")[0]
        if top in ("actors", "app"):
            other = room_of(imported)
            assert other == room or other in ROOMS[room], f"{name} imports {imported}"
        elif top in OUTSIDE:
            assert any(within(name, who) for who in OUTSIDE[top]), f"{name} imports {imported}"


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_know_neither_trio_nor_the_web(name):
    tops = {imported.split(".")[0] for imported in imports(name, MODULES[name])}
    assert not tops & {"trio", "quart", "quart_trio", "httpx", "time", "random", "secrets"}


def declared():
    """What pyproject.toml asks for, as it is written there: for the server, and its extras."""
    project = tomllib.loads(PROJECT)["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(each for name in EXTRAS for each in extras[name])]


def name_of(requirement):
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_every_package_that_is_imported_is_declared_or_comes_with_one():
    known = {name_of(each) for each in declared()}
    for package, owner in COMES_WITH.items():
        assert owner in known
        assert package in {name_of(each) for each in requires(owner)}
    packages = packages_distributions()
    for name, path in MODULES.items():
        for top in {imported.split(".")[0] for imported in imports(name, path)}:
            if top not in ("actors", "app", "pytest") and top not in sys.stdlib_module_names:
                found = {name_of(each) for each in packages[top]}
                assert found & {*known, *COMES_WITH}, f"{name} imports {top}"


def test_dependencies_have_lower_bounds_and_an_upper_one_only_with_its_reason():
    lines = [line.strip() for line in PROJECT.splitlines()]
    for each in declared():
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+(,<[0-9.]+)?", each), each
        if "<" in each:
            assert lines[lines.index(f'"{each}",') - 1].startswith("# Upper bound: "), each


def test_the_face_is_all_that_is_public_of_the_core():
    import actors

    assert sorted(actors.__all__) == actors.__all__
    assert all(hasattr(actors, name) for name in actors.__all__)
