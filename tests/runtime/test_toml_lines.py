"""Every key of a TOML text has its line and column."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from runtime.toml_lines import locate

TEXT = '''\
# a comment with [brackets]
name = "x = 1 # no comment"
[node]
  title = """several
lines = of text"""
site.area = "north"
"quoted key" = 1
[[device]]
name = "a"
[[device.read]]
points = [
  "one",  # first
  {at = 1, to = "%IW0"},
]
[[device]]
[[device.read]]
count = 2
'''


def test_keys_when_text_uses_all_forms_then_each_has_its_place() -> None:
    spots = locate(TEXT)
    lines = TEXT.splitlines()
    for path, line, start in [
        (("name",), 2, "name"),
        (("node",), 3, "[node]"),
        (("node", "title"), 4, "title"),
        (("node", "site", "area"), 6, "area"),
        (("node", "quoted key"), 7, '"quoted'),
        (("device", 0, "name"), 9, "name"),
        (("device", 0, "read", 0, "points", 0), 12, '"one"'),
        (("device", 0, "read", 0, "points", 1, "to"), 13, "to"),
        (("device", 1), 15, "[[device]]"),
        (("device", 1, "read", 0, "count"), 17, "count"),
    ]:
        spot = spots[path]
        assert spot.line == line
        assert lines[line - 1][spot.column - 1 :].startswith(start)


keys = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
scalars = st.one_of(
    st.integers(-9, 99).map(str),
    st.text("ab #[]{}=,\"'\\", max_size=6).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    st.just("'''lit\neral = ]'''"),
    st.just("2026-01-01T00:00:00Z"),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # c\n".join(items) + "]"),
        st.dictionaries(keys, st.sampled_from(["1", '"t"', "[1, 2]"]), max_size=3).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=5,
)


def _paths(data: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found: set[tuple[str | int, ...]] = {path} if path else set()
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        found |= _paths(value, (*path, key))
    return found


@given(
    st.dictionaries(keys, values, max_size=4), st.lists(st.dictionaries(keys, values, max_size=3), max_size=3)
)
def test_keys_when_any_valid_document_then_all_paths_are_found(
    top: dict[str, str], tables: list[dict[str, str]]
) -> None:
    top.pop("dev", None)
    lines = [f"{key} = {value}" for key, value in top.items()]
    for table in tables:
        lines += ["[[dev]]", *(f"{key} = {value}" for key, value in table.items())]
    text = "\n".join(lines) + "\n"
    assert _paths(tomllib.loads(text)) <= set(locate(text))


@given(st.text(max_size=200))
def test_scan_when_text_is_no_toml_then_it_ends(text: str) -> None:
    locate(text)
