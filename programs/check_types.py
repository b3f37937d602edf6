"""From written types to types of the tree, with their default values."""

from __future__ import annotations

from programs import ast, hir, types
from programs.blocks import standard_blocks
from programs.check_context import Scope
from programs.check_enums import ENUM_BASES, Enumerations, Resolved
from programs.symbols import (
    InterfaceSymbol,
    Namespace,
    PouSymbol,
    PropertySymbol,
    State,
    Symbol,
    TypeSymbol,
    VariableSymbol,
)

ELEMENTS_MAX = 1 << 28  # of one array: more than any state block holds


_WIDTHS = {"B": 8, "W": 16, "D": 32, "L": 64}
# What CODESYS and TwinCAT call the library with the standard's blocks.
_STANDARD_LIBRARIES = ("STANDARD", "TC2_STANDARD")
_NOTHING = Resolved(types.UNKNOWN)


def elementary(name: str, dialect: str) -> hir.Type | None:
    """The elementary type or default-length string of an upper-case name."""
    name = types.ALIASES.get(name, name)
    if dialect != "iec":
        name = types.CODESYS_ALIASES.get(name, name)
        if name == "PVOID":
            return hir.Ref(types.BYTE)
    if name == "STRING":
        return types.STRING
    if name == "WSTRING":
        return types.WSTRING
    return types.ELEMENTARY.get(name)


class TypeResolver(Enumerations):
    """Resolves written types; each declared type once."""

    # -- entry points

    def resolve(self, spec: ast.TypeSpec, scope: Scope, hint: str) -> Resolved:
        """``hint`` names the type where it has no name of its own: the path of what is declared."""
        match spec:
            case ast.NamedType():
                return self.named(spec, scope)
            case ast.StringType():
                return Resolved(self._string(spec, scope))
            case ast.SubrangeType():
                return self._subrange(spec, scope)
            case ast.ArrayType():
                return self._array(spec, scope, hint)
            case ast.EnumType():
                return self.enumeration(spec, scope, hint)
            case ast.StructType():
                return Resolved(self._struct(spec, scope, hint))
            case ast.ReferenceType():
                return Resolved(self._reference(spec, scope, hint))
        return _NOTHING

    def variable(self, symbol: VariableSymbol) -> hir.Type:
        """The type of a variable; worked out at the first call."""
        if symbol.state is State.DONE:
            return symbol.variable.type
        if symbol.state is State.BUSY:
            self._circle(symbol.node or (symbol.owner and symbol.owner.node), symbol.name)
            return types.UNKNOWN
        symbol.state = State.BUSY
        self._work_out(symbol)
        symbol.state = State.DONE
        return symbol.variable.type

    def _work_out(self, symbol: VariableSymbol) -> None:
        variable, node = symbol.variable, symbol.node
        scope = Scope(symbol.scope or self.context.root, symbol.owner)
        if symbol.section == "VAR_EXTERNAL" and node is not None:
            self._external(symbol, node, scope)
        elif node is not None and node.type is not None:
            hint = f"{symbol.owner.key}.{symbol.name}" if symbol.owner else symbol.name
            resolved = self.resolve(node.type, scope, hint)
            variable.type, variable.init = resolved.type, resolved.initial
            self._open_array(symbol, node)
            if node.alias is not None:
                self._alias(symbol, node, scope)
        elif symbol.section == "RESULT" or symbol.owner is not None:
            variable.type, variable.init = self._result(symbol, scope)

    def _alias(self, symbol: VariableSymbol, node: ast.Variable, scope: Scope) -> None:
        """RuSTy: ``x AT y : INT`` is another name for y."""
        target = node.alias
        found = scope.find(target.name.upper()) if isinstance(target, ast.Name) else None
        if not isinstance(found, VariableSymbol) or found is symbol:
            self._missing_global(node, [])
            return
        kind = self.variable(found)
        if not types.same_layout(kind, symbol.variable.type):
            self._other_type(symbol, node, kind, symbol.variable.type)
        if symbol.owner is not None and symbol.variable in symbol.owner.pou.variables:
            symbol.owner.pou.variables.remove(symbol.variable)
        symbol.aliases, symbol.variable, symbol.readonly = found, found.variable, found.readonly

    def _open_array(self, symbol: VariableSymbol, node: ast.Variable) -> None:
        """ARRAY[*] takes its bounds from the caller (IEC 61131-3:2013, 6.5.3.2)."""
        kind = symbol.variable.type
        by_call = symbol.variable.storage in (
            hir.Storage.PARAMETER,
            hir.Storage.OUTPUT_PARAMETER,
            hir.Storage.INOUT_PARAMETER,
        )
        if not _has_open_array(kind) or (by_call and isinstance(kind, hir.OpenArray)):
            return
        symbol.variable.type = types.UNKNOWN
        self._no_open_array(node.type or node, kind)

    def _no_open_array(self, where: ast.Node, kind: hir.Type) -> None:
        self.context.error(
            "ST3025",
            where,
            "ARRAY[*] is not possible here",
            expected="a parameter of a function or method, or a VAR_IN_OUT",
            found=types.type_name(kind),
            remedy="write the bounds of the array",
        )

    def _result(self, symbol: VariableSymbol, scope: Scope) -> tuple[hir.Type, hir.Initial | None]:
        """Type of a function's result, or of a property's value."""
        owner = symbol.owner
        spec: ast.TypeSpec | None = None
        if owner is not None and isinstance(owner.node, ast.Pou):
            spec = owner.node.result
        elif owner is not None and owner.owner is not None:
            prop = owner.owner.properties.get(symbol.name.upper())
            spec = prop.node.type if prop is not None else None
        if spec is None:
            return types.UNKNOWN, None
        resolved = self.resolve(spec, scope, f"{symbol.name}.result")
        if _has_open_array(resolved.type):
            self._no_open_array(spec, resolved.type)
            return types.UNKNOWN, None
        return resolved.type, resolved.initial

    def property(self, symbol: PropertySymbol) -> hir.Type:
        if symbol.type is None:
            spec = symbol.node.type
            scope = Scope(symbol.owner.scope, symbol.owner if isinstance(symbol.owner, PouSymbol) else None)
            symbol.type = self.resolve(spec, scope, symbol.name).type if spec is not None else types.UNKNOWN
        return symbol.type

    def _external(self, symbol: VariableSymbol, node: ast.Variable, scope: Scope) -> None:
        found = scope.namespace.find(symbol.name.upper())
        declared = (
            self.resolve(node.type, scope, symbol.name).type if node.type is not None else types.UNKNOWN
        )
        if not isinstance(found, VariableSymbol):
            symbol.variable.type = declared
            known = [entry.name for entry in self.context.globals]
            self._missing_global(node, known)
            return
        kind = self.variable(found)
        symbol.aliases = found
        symbol.variable = found.variable
        symbol.readonly = found.readonly or symbol.readonly
        same = types.same_layout(declared, kind) or types.stripped(declared) == types.stripped(kind)
        if not same:
            self._other_type(symbol, node, kind, declared)

    def _other_type(
        self, symbol: VariableSymbol, node: ast.Variable, kind: hir.Type, declared: hir.Type
    ) -> None:
        self.context.error(
            "ST3018",
            node,
            f"{symbol.name} is declared with another type than the variable that it stands for",
            expected=types.type_name(kind),
            found=types.type_name(declared),
            remedy="give it the type of that variable",
        )

    def _missing_global(self, node: ast.Variable, known: list[str]) -> None:
        from programs.diagnostics import closest

        meant = closest(node.name.name, known)
        self.context.error(
            "ST3018",
            node.name,
            f"there is no global variable {node.name.name}",
            remedy=f"did you mean {meant}?" if meant else "declare it in a VAR_GLOBAL section",
        )

    def _circle(self, node: object, name: str) -> None:
        if isinstance(node, ast.Node):
            where = getattr(node, "name", node)
            self.context.error(
                "ST3005",
                where,
                f"{name} is defined by itself",
                remedy="break the circle: use a reference (REF_TO) or a plain value at one place",
            )

    # -- named types

    def named(self, spec: ast.NamedType, scope: Scope) -> Resolved:
        bound = self._bound(spec.name.upper(), scope)
        found = bound or elementary(spec.name.upper(), self.context.dialect)
        if found is not None:
            return Resolved(found)
        symbol = self.find_type(spec.name, scope)
        match symbol:
            case TypeSymbol():
                return self.type_symbol(symbol)
            case PouSymbol(kind="function_block" | "class" | "program"):
                return Resolved(hir.Instance(symbol.key))
            case InterfaceSymbol():
                return Resolved(hir.Interface(symbol.key))
            case None:
                self.context.unknown_name(spec, spec.name, self.type_names(scope), what="type")
            case _:
                self.context.error(
                    "ST3004",
                    spec,
                    f"{self.context.describe(symbol)}, not a type",
                    expected="a type, a function block or an interface",
                    found=spec.name,
                    remedy="name a type here",
                )
        return _NOTHING

    @staticmethod
    def _bound(name: str, scope: Scope) -> hir.Type | None:
        """The type that a generic function's type parameter stands for in this instance of it."""
        return scope.pou.type_arguments.get(name) if scope.pou is not None else None

    def find_type(self, name: str, scope: Scope) -> Symbol | None:
        """The symbol of a type's dotted name: variables of the same name do not hide it."""
        parts = name.upper().split(".")
        if len(parts) > 1:
            found = self.context.lookup_path(Scope(scope.namespace), parts)
            if found is None and self.context.loose and parts[0] in _STANDARD_LIBRARIES and len(parts) == 2:
                return self.context.standard_block(parts[1])
            return found
        return scope.namespace.find_declared(parts[0]) or self.context.standard_block(parts[0])

    def type_names(self, scope: Scope) -> list[str]:
        names = [*types.ELEMENTARY, *types.ALIASES, "STRING", "WSTRING", *standard_blocks()]
        space: Namespace | None = scope.namespace
        while space is not None:
            for symbol in space.symbols.values():
                if isinstance(symbol, TypeSymbol | InterfaceSymbol):
                    names.append(symbol.node.name.name)
                elif isinstance(symbol, PouSymbol) and symbol.kind in ("function_block", "class"):
                    names.append(symbol.name)
            space = space.parent
        return names

    def type_symbol(self, symbol: TypeSymbol) -> Resolved:
        if symbol.state is State.DONE or (symbol.type is not None):
            return Resolved(symbol.type or types.UNKNOWN, symbol.initial)
        if symbol.state is State.BUSY:
            self._circle(symbol.node, symbol.name)
            return _NOTHING
        symbol.state = State.BUSY
        self._declare(symbol)
        symbol.state = State.DONE
        return Resolved(symbol.type or types.UNKNOWN, symbol.initial)

    def _declare(self, symbol: TypeSymbol) -> None:
        node = symbol.node
        scope = Scope(symbol.scope)
        name = symbol.scope.qualified(symbol.name)
        if isinstance(node.type, ast.StructType):
            # The type exists before its members do, so that they may refer to it.
            struct = hir.Struct(name, (), union=node.type.union)
            symbol.type = struct
            object.__setattr__(struct, "members", self._members(node.type, scope, name))
        else:
            resolved = self.resolve(node.type, scope, name)
            symbol.type, symbol.initial = self._renamed(resolved.type, name), resolved.initial
        if node.initial is not None and symbol.type is not None:
            given = self.context.initial(node.initial, symbol.type, scope)
            symbol.initial = given if given is not None else symbol.initial

    @staticmethod
    def _renamed(kind: hir.Type, name: str) -> hir.Type:
        """An alias or subrange of an elementary type keeps the name that it is declared by."""
        if isinstance(kind, hir.Elementary):
            return hir.Elementary(kind.type, name, kind.low, kind.high)
        return kind

    # -- written types

    def _string(self, spec: ast.StringType, scope: Scope) -> hir.Type:
        length = types.STRING_LENGTH_DEFAULT
        if spec.length is not None:
            given = self.context.integer(spec.length, scope)
            if given is None:
                return types.UNKNOWN
            length = given
            if not 1 <= length <= types.STRING_LENGTH_MAX:
                self.context.error(
                    "ST3022",
                    spec.length,
                    "a string of this length cannot be declared",
                    expected=f"1 to {types.STRING_LENGTH_MAX}",
                    found=str(length),
                    remedy="choose a length in this range",
                )
                return types.UNKNOWN
        return hir.String(length, spec.wide)

    def _subrange(self, spec: ast.SubrangeType, scope: Scope) -> Resolved:
        base = types.stripped(self.named(spec.base, scope).type)
        low, high = self.context.integer(spec.low, scope), self.context.integer(spec.high, scope)
        if low is None or high is None or base is types.UNKNOWN:
            return _NOTHING
        if not isinstance(base, hir.Elementary) or base.type not in ENUM_BASES:
            self.context.error(
                "ST3004",
                spec.base,
                f"{types.type_name(base)} has no subranges",
                expected="an integer type",
                found=types.type_name(base),
                remedy="use an integer type, and LIMIT for other numbers",
            )
            return _NOTHING
        if low > high or not (types.holds(base, low) and types.holds(base, high)):
            self._bad_bounds(spec, low, high, types.type_name(base))
            return _NOTHING
        # The default of a subrange is its lower limit (IEC 61131-3:2013, 6.4.4.4).
        return Resolved(hir.Elementary(base.type, "", low, high), hir.Initial(low) if low != 0 else None)

    def _bad_bounds(self, where: ast.Node, low: int, high: int, of: str) -> None:
        self.context.error(
            "ST3009",
            where,
            f"the range {low}..{high} is not possible",
            expected=f"a lower bound that is not above the upper one, both within {of}",
            found=f"{low}..{high}",
            remedy="exchange or correct the bounds",
        )

    def _array(self, spec: ast.ArrayType, scope: Scope, hint: str) -> Resolved:
        element = self.resolve(spec.element, scope, hint)
        if any(dimension.low is None or dimension.high is None for dimension in spec.dimensions):
            return Resolved(hir.OpenArray(element.type, len(spec.dimensions)))
        dims: list[tuple[int, int]] = []
        count = 1
        for dimension in spec.dimensions:
            assert dimension.low is not None
            assert dimension.high is not None
            low = self.context.integer(dimension.low, scope)
            high = self.context.integer(dimension.high, scope)
            if low is None or high is None:
                return _NOTHING
            count *= high - low + 1
            if low > high or count > ELEMENTS_MAX:
                self._bad_bounds(dimension, low, high, f"at most {ELEMENTS_MAX} elements")
                return _NOTHING
            dims.append((low, high))
        if element.type is types.UNKNOWN:
            return _NOTHING
        initial = hir.Initial([element.initial] * count) if element.initial is not None else None
        return Resolved(hir.Array(element.type, tuple(dims)), initial)

    def _reference(self, spec: ast.ReferenceType, scope: Scope, hint: str) -> hir.Type:
        target = self.resolve(spec.target, scope, hint).type
        if target is types.UNKNOWN:
            return types.UNKNOWN
        return hir.Ref(target, implicit=spec.kind == "REFERENCE TO")

    def _struct(self, spec: ast.StructType, scope: Scope, hint: str) -> hir.Type:
        return hir.Struct(hint, self._members(spec, scope, hint), union=spec.union)

    def _members(self, spec: ast.StructType, scope: Scope, hint: str) -> tuple[hir.Member, ...]:
        members = list(self._inherited(spec, scope))
        seen = {member.name.upper(): None for member in members}
        for node in spec.members:
            name = node.name.name
            if name.upper() in seen:
                self.context.duplicate(node.name, name, None)
                continue
            seen[name.upper()] = None
            resolved = self.resolve(node.type, scope, f"{hint}.{name}") if node.type is not None else _NOTHING
            if _has_open_array(resolved.type):
                self._no_open_array(node.type or node, resolved.type)
                resolved = _NOTHING
            initial = resolved.initial
            if node.initial is not None:
                given = self.context.initial(node.initial, resolved.type, scope)
                initial = given if given is not None else initial
            members.append(
                hir.Member(name, resolved.type, initial, node.comment, self._relative(node, resolved.type))
            )
        self._apart(spec, members)
        return tuple(members)

    def _relative(self, node: ast.Variable, kind: hir.Type) -> int | None:
        """The offset of a member ``AT %W2``: it counts in units of its size."""
        place = node.location
        if place is None or kind is types.UNKNOWN:
            return None
        width = types.WIDTH.get(kind.type, 0) if isinstance(kind, hir.Elementary) else 0
        if place.area or _WIDTHS.get(place.size) != width or len(place.address) != 1:
            self.context.error(
                "ST3017", place, f"{types.type_name(kind)} does not fit the address {place.text} in a structure",
                expected="%B, %W, %D or %L for 8, 16, 32 or 64 bits, and a number", found=place.text,
                remedy="give the address of the member's size; single bits are parts of it: x.%X0",
            )  # fmt: skip
            return None
        return place.address[0] * width // 8

    def _apart(self, spec: ast.StructType, members: list[hir.Member]) -> None:
        """Members with addresses must not overlap, unless the structure says OVERLAP."""
        taken: dict[int, str] = {}
        for node, member in zip(spec.members, members[len(members) - len(spec.members) :], strict=False):
            if member.at is None or spec.overlap or not isinstance(member.type, hir.Elementary):
                continue
            for byte in range(member.at, member.at + types.WIDTH[member.type.type] // 8):
                if byte in taken:
                    self.context.error(
                        "ST3017", node, f"{member.name} overlaps {taken[byte]}", expected="an address behind it",
                        found=f"byte {byte}", remedy="give it another address, or write STRUCT OVERLAP",
                    )  # fmt: skip
                    break
                taken[byte] = member.name

    def _inherited(self, spec: ast.StructType, scope: Scope) -> tuple[hir.Member, ...]:
        if spec.extends is None:
            return ()
        name = ".".join(part.name for part in self.context.path(spec.extends))
        symbol = self.find_type(name, scope)
        base = self.type_symbol(symbol).type if isinstance(symbol, TypeSymbol) else None
        if isinstance(base, hir.Struct) and base is not types.UNKNOWN:
            return base.members
        if base is not types.UNKNOWN:
            self.context.unknown_name(spec.extends, name, self.type_names(scope), what="type")
        return ()


def _has_open_array(kind: hir.Type) -> bool:
    match kind:
        case hir.OpenArray():
            return True
        case hir.Array():
            return _has_open_array(kind.element)
        case hir.Ref():
            return isinstance(kind.target, hir.OpenArray)
    return False
