"""Members, indices, dereferences and parts."""

from __future__ import annotations

from programs import ast, constants, hir, types
from programs.check_meanings import (
    CallableMeaning,
    Meaning,
    PlaceMeaning,
    PropertyMeaning,
    SuperMeaning,
    SymbolMeaning,
    ValueMeaning,
)
from programs.check_names import BodyNames
from programs.check_values import Value
from programs.diagnostics import Spanned, closest
from programs.symbols import (
    InterfaceSymbol,
    Namespace,
    PouSymbol,
    Symbol,
    TypeSymbol,
    VariableSymbol,
)
from scan.abi import IecType

_PART_BITS = {"": 1, "X": 1, "B": 8, "W": 16, "D": 32}
_PART_TYPE = {
    1: types.BOOL,
    8: types.BYTE,
    16: hir.Elementary(IecType.WORD),
    32: hir.Elementary(IecType.DWORD),
}
_DIRECT_TYPE = {"": "BOOL", "X": "BOOL", "B": "BYTE", "W": "WORD", "D": "DWORD", "L": "LWORD"}


class BodyPlaces(BodyNames):
    """Layer 3: designators."""

    def meaning(self, node: ast.Expression) -> Meaning | None:
        """What a designator stands for; None after an error was reported."""
        match node:
            case ast.Name():
                return self._name(node)
            case ast.GlobalName():
                return self._global(node)
            case ast.Member():
                return self._member(node)
            case ast.Index():
                return self._index(node)
            case ast.Dereference():
                return self._dereference(node)
            case ast.Part():
                return self._part(node)
            case ast.This():
                return self._this(node)
            case ast.Super():
                return self._super(node)
            case ast.DirectVariable():
                return self._direct(node)
            case ast.Missing():
                return None
        value = self.expression(node)
        return None if value.unknown else ValueMeaning(value)

    # -- members

    def _member(self, node: ast.Member) -> Meaning | None:
        base = self.meaning(node.base)
        upper = node.name.name.upper()
        match base:
            case None:
                return None
            case SymbolMeaning():
                return self._of_symbol(base.symbol, node)
            case SuperMeaning():
                return self._of_super(base, node)
            case PropertyMeaning() | CallableMeaning():
                base = self._as_place(node.base, base)
            case ValueMeaning():
                if isinstance(base.value.type, hir.Interface):
                    return self._of_interface(base.value.expr, base.value.type, node)
                base = self._as_place(node.base, base)
        if not isinstance(base, PlaceMeaning) or base.type is types.UNKNOWN:
            return None
        match base.type:
            case hir.Struct():
                return self._of_struct(base, base.type, node)
            case hir.Instance():
                return self._of_instance(base, base.type, node, upper)
            case hir.Interface():
                self.mark_read(base.root)
                return self._of_interface(hir.Load(base.place, base.type, self.line(node)), base.type, node)
            case hir.Ref() if self.context.loose and isinstance(base.type.target, hir.Struct | hir.Instance):
                pass
        self._no_members(base.type, node)
        return None

    def _no_members(self, kind: hir.Type, node: ast.Member) -> None:
        remedy = "write ^ before the dot to use what the reference points to"
        self.error(
            "ST3012",
            node.name,
            f"{types.type_name(kind)} has no members",
            expected="a structure, an instance or a namespace before the dot",
            found=types.type_name(kind),
            remedy=remedy
            if isinstance(kind, hir.Ref)
            else "remove the member, or correct the name before the dot",
        )

    def _no_member(self, of: str, node: ast.Member, known: list[str]) -> None:
        meant = closest(node.name.name, known)
        self.error(
            "ST3012",
            node.name,
            f"{of} has no member {node.name.name}",
            remedy=f"did you mean {meant}?" if meant else "correct the name, or declare the member",
        )

    def _as_place(self, node: ast.Expression, meaning: Meaning) -> PlaceMeaning | None:
        """A value that is no place, kept in a temporary so that its parts can be taken."""
        if isinstance(meaning, PlaceMeaning):
            return meaning
        value = self.settle(self.rvalue(meaning, node))
        if value.unknown:
            return None
        if isinstance(value.expr, hir.Load):
            return PlaceMeaning(value.expr.place, value.type, None, "a value")
        if self.constant_only:
            return None
        kept = self.temporary(value.computed, node)
        place = hir.VariablePlace(kept, kept.type, self.line(node))
        self.output.append(hir.Assign(place, value.expr, self.line(node)))
        return PlaceMeaning(place, kept.type, None, "a value")

    def _of_symbol(self, symbol: Symbol, node: ast.Member) -> Meaning | None:
        upper = node.name.name.upper()
        if isinstance(symbol, Namespace):
            found = symbol.own(upper)
            if found is None:
                known = [*symbol.symbols, *symbol.variables, *symbol.enum_values]
                self._no_member(f"the namespace {symbol.key}", node, known)
                return None
            return self._symbol_meaning(found, node)
        if isinstance(symbol, TypeSymbol):
            kind = self.resolver.type_symbol(symbol).type
            if isinstance(kind, hir.Enum):
                return self.enum_member(kind, node.name)
        if isinstance(symbol, PouSymbol) and self.context.loose:
            member = symbol.member(upper)
            if member is not None and member.variable.constant:
                return self._symbol_meaning(member, node)  # CODESYS: a constant by the name of its block
        if isinstance(symbol, PouSymbol) and symbol.kind == "program" and self.context.loose:
            place = self.program_place(symbol, node)
            return self._of_instance(place, hir.Instance(symbol.key), node, upper)
        self.error(
            "ST3004",
            node.base,
            f"{self.context.describe(symbol)} and has no members here",
            expected="an instance of it",
            found="the type itself",
            remedy="declare a variable of this type and use that",
        )
        return None

    def program_place(self, symbol: PouSymbol, node: Spanned) -> PlaceMeaning:
        """CODESYS: the one instance of a program, by the program's name."""
        variable = self.context.program_variable(symbol)
        return PlaceMeaning(
            hir.VariablePlace(variable, variable.type, self.line(node)), variable.type, variable
        )

    def enum_member(self, kind: hir.Enum, name: ast.Name) -> Meaning | None:
        for value, number in kind.values:
            if value.upper() == name.name.upper():
                return ValueMeaning(Value(hir.Constant(kind, number, self.line(name)), kind))
        meant = closest(name.name, [value for value, _ in kind.values])
        self.error(
            "ST3015",
            name,
            f"{kind.name} has no value {name.name}",
            remedy=f"did you mean {meant}?" if meant else "use one of the values of the enumeration",
        )
        return None

    def _of_struct(self, base: PlaceMeaning, kind: hir.Struct, node: ast.Member) -> Meaning | None:
        lower = node.name.name.lower()
        for member in kind.members:
            if member.name.lower() == lower:
                if member.type is types.UNKNOWN:
                    return None
                place = hir.MemberPlace(base.place, lower, member.type, self.line(node))
                return self.through_reference(
                    PlaceMeaning(place, member.type, base.root, base.readonly, base.doubt)
                )
        self._no_member(types.type_name(kind), node, [member.name for member in kind.members])
        return None

    def _of_instance(
        self, base: PlaceMeaning, kind: hir.Instance, node: ast.Member, upper: str
    ) -> Meaning | None:
        pou = self.context.pous.get(kind.pou)
        if pou is None:
            return None
        variable = pou.member(upper)
        if variable is not None:
            return self._instance_variable(base, variable, node)
        exact = isinstance(base.place, hir.VariablePlace | hir.MemberPlace | hir.IndexPlace) and not (
            base.root is not None and base.root.storage is hir.Storage.INOUT_PARAMETER
        )
        prop = pou.property(upper)
        if prop is not None:
            self.check_access(prop.node.access, prop.owner, node)
            self.mark_read(base.root)
            return PropertyMeaning(prop, base.place, exact)
        method = pou.method(upper) or pou.action(upper)
        if method is not None:
            self.check_access(method.access, method.owner, node)
            self.mark_used(base.root, node)
            return CallableMeaning(method, base.place, exact)
        self._no_member(pou.name, node, pou.member_names())
        return None

    def _instance_variable(
        self, base: PlaceMeaning, symbol: VariableSymbol, node: ast.Member
    ) -> Meaning | None:
        kind = self.resolver.variable(symbol)
        inside = isinstance(base.place, hir.ThisPlace)
        self.mark_read(base.root)
        if self.pou is not None and self.pou.test is not None:
            inside = True  # a test may set what it likes
        readonly = "" if inside or symbol.variable.direction != "output" else "an output of a block"
        doubt = ""
        if not inside and not symbol.variable.direction:
            self.check_access(symbol.access, symbol.owner, node)
            doubt = self._internal(symbol, node)
        if kind is types.UNKNOWN:
            return None
        if symbol.variable.storage in (hir.Storage.INSTANCE, hir.Storage.INOUT_PARAMETER):
            place: hir.Place = hir.MemberPlace(
                base.place, symbol.variable.name.lower(), kind, self.line(node)
            )
        else:
            place = hir.VariablePlace(symbol.variable, kind, self.line(node))
        self.context.read.add(symbol.variable)
        return self.through_reference(
            PlaceMeaning(place, kind, base.root, readonly or symbol.readonly, doubt)
        )

    def _internal(self, symbol: VariableSymbol, node: ast.Member) -> str:
        """Variables that are neither inputs nor outputs belong to the block alone (IEC 61131-3:2013, 6.6.3.2)."""
        here = self.owner()
        if self.context.loose or symbol.access == "PUBLIC" or symbol.section == "STEP":
            return ""
        if here is not None and isinstance(symbol.owner, PouSymbol) and here.is_a(symbol.owner):
            return ""
        if not symbol.access:
            self.context.warn(
                "ST4112",
                node.name,
                f"{symbol.name} is an internal variable of {symbol.owner.name if symbol.owner else 'a block'}",
                remedy="make it an output, or PUBLIC",
            )
        return ""

    def check_access(self, access: str, owner: object, node: ast.Member) -> None:
        """PRIVATE: the same unit only; PROTECTED: units that extend it too."""
        if access not in ("PRIVATE", "PROTECTED") or not isinstance(owner, PouSymbol):
            return
        here = self.owner()
        allowed = here is owner if access == "PRIVATE" else here is not None and here.is_a(owner)
        if not allowed:
            self.error(
                "ST4016",
                node.name,
                f"{node.name.name} of {owner.name} is {access.lower()}",
                expected="a public member",
                found=f"a {access.lower()} one",
                remedy="use an output, or make the member public",
            )

    def _of_super(self, base: SuperMeaning, node: ast.Member) -> Meaning | None:
        upper = node.name.name.upper()
        this = hir.ThisPlace(hir.Instance(base.base.key), self.line(node))
        method = base.base.method(upper)
        if method is not None:
            return CallableMeaning(method, this)
        prop = base.base.property(upper)
        if prop is not None:
            return PropertyMeaning(prop, this, exact=True)
        variable = base.base.member(upper)
        if variable is not None:
            return self._variable(variable, node)
        self._no_member(base.base.name, node, base.base.member_names())
        return None

    def _of_interface(
        self, receiver: hir.Expression, kind: hir.Interface, node: ast.Member
    ) -> Meaning | None:
        interface: InterfaceSymbol = self.context.interfaces[kind.name]
        upper = node.name.name.upper()
        prop = interface.property(upper)
        if prop is not None:
            return PropertyMeaning(prop, receiver, exact=False)
        method = interface.method(upper)
        if method is not None:
            return CallableMeaning(method, receiver, exact=False)
        known = [m.name for i in interface.all() for m in i.methods.values()]
        known += [p.name for i in interface.all() for p in i.properties.values()]
        self._no_member(interface.node.name.name, node, known)
        return None

    # -- indices, references, parts

    def _index(self, node: ast.Index) -> Meaning | None:
        found = self.meaning(node.base)
        base = self._as_place(node.base, found) if found is not None else None
        indices = [self.long_integer(index, what="an index") for index in node.indices]
        if base is None or base.type is types.UNKNOWN:
            return None
        match base.type:
            case hir.Array() | hir.OpenArray():
                return self._array_element(base, base.type, indices, node)
            case hir.String() if len(indices) == 1:
                return self._character(base, base.type, indices[0], node)
            case hir.Ref() if self.context.loose:
                return self._pointer_element(base, base.type, indices, node)
        self.error(
            "ST3011",
            node.base,
            f"{types.type_name(base.type)} is no array",
            expected="an array before [",
            found=types.type_name(base.type),
            remedy="remove the index, or declare the variable as ARRAY[…] OF",
        )
        return None

    def _array_element(
        self,
        base: PlaceMeaning,
        kind: hir.Array | hir.OpenArray,
        indices: list[hir.Expression],
        node: ast.Index,
    ) -> Meaning | None:
        rank = len(kind.dims) if isinstance(kind, hir.Array) else kind.rank
        element = kind.element
        if len(indices) > rank and isinstance(element, hir.Array):
            # a[i, j] for an ARRAY OF ARRAY, as CODESYS allows.
            place = hir.IndexPlace(base.place, indices[:rank], element, self.line(node))
            self._check_bounds(kind, indices[:rank], node)
            inner = PlaceMeaning(place, element, base.root, base.readonly, base.doubt)
            return self._array_element(inner, element, indices[rank:], node)
        if len(indices) != rank:
            self.error(
                "ST3011",
                node,
                f"the array has {rank} dimensions, {len(indices)} indices are given",
                expected=f"{rank} indices",
                found=str(len(indices)),
                remedy="give one index for each dimension",
            )
            return None
        self._check_bounds(kind, indices, node)
        place = hir.IndexPlace(base.place, indices, element, self.line(node))
        return self.through_reference(PlaceMeaning(place, element, base.root, base.readonly, base.doubt))

    def _check_bounds(
        self, kind: hir.Array | hir.OpenArray, indices: list[hir.Expression], node: ast.Index
    ) -> None:
        if not isinstance(kind, hir.Array):
            return
        for (low, high), index, written in zip(kind.dims, indices, node.indices, strict=False):
            constant = constants.fold(index)
            if constant is None or constant.type is types.UNKNOWN or not isinstance(constant.value, int):
                continue
            if not low <= constant.value <= high:
                self.error(
                    "ST3010",
                    written,
                    f"the index {constant.value} is outside the array",
                    expected=f"{low} to {high}",
                    found=str(constant.value),
                    remedy="use an index within the declared bounds",
                )

    def _character(
        self, base: PlaceMeaning, kind: hir.String, index: hir.Expression, node: ast.Index
    ) -> Meaning:
        """A character of a string: from 1 (IEC 61131-3:2013, 6.4.2), in CODESYS a byte from 0."""
        line = self.line(node)
        if self.context.loose:
            element = hir.Elementary(IecType.WORD) if kind.wide else types.BYTE
        else:
            element = types.WCHAR if kind.wide else types.CHAR
            index = hir.Binary("sub", index, hir.Constant(types.LINT, 1, line), types.LINT, line)
            index = constants.fold(index) or index
        return PlaceMeaning(
            hir.IndexPlace(base.place, [index], element, line), element, base.root, base.readonly
        )

    def _pointer_element(
        self, base: PlaceMeaning, kind: hir.Ref, indices: list[hir.Expression], node: ast.Index
    ) -> Meaning | None:
        """CODESYS: ``p[i]`` is the i-th target behind a pointer."""
        if isinstance(kind.target, hir.Array | hir.String):
            target = PlaceMeaning(self._deref(base, node).place, kind.target, base.root)
            if isinstance(kind.target, hir.String):
                return self._character(target, kind.target, indices[0], node)
            return self._array_element(target, kind.target, indices, node)
        line = self.line(node)
        self.mark_read(base.root)
        address = hir.Convert(hir.Load(base.place, kind, line), types.LINT, "bits", line)
        size = hir.SizeOf(kind.target, types.LINT, line)
        offset = hir.Binary("mul", indices[0], size, types.LINT, line)
        total = hir.Binary("add", address, offset, types.LINT, line)
        reference = hir.Convert(total, hir.Ref(kind.target), "bits", line)
        return PlaceMeaning(hir.DerefPlace(reference, kind.target, line), kind.target, base.root)

    def _dereference(self, node: ast.Dereference) -> Meaning | None:
        found = self.meaning(node.base)
        if isinstance(found, SuperMeaning):
            return found
        if found is None:
            return None
        if isinstance(found, PlaceMeaning) and isinstance(found.place, hir.ThisPlace):
            return found
        if isinstance(found, PlaceMeaning) and isinstance(found.type, hir.Ref):
            return self._deref(found, node)
        value = self.rvalue(found, node.base)
        if isinstance(value.type, hir.Ref):
            place = hir.DerefPlace(value.expr, value.type.target, self.line(node))
            return PlaceMeaning(place, value.type.target)
        if not value.unknown:
            self.error(
                "ST3020",
                node,
                "only a reference can be followed with ^",
                expected="REF_TO or POINTER TO",
                found=types.type_name(value.type),
                remedy="remove the ^",
            )
        return None

    def _deref(self, base: PlaceMeaning, node: Spanned) -> PlaceMeaning:
        kind = base.type
        assert isinstance(kind, hir.Ref)
        self.mark_read(base.root)
        line = self.line(node)
        place = hir.DerefPlace(hir.Load(base.place, kind, line), kind.target, line)
        return self.through_reference(PlaceMeaning(place, kind.target, None))

    def _part(self, node: ast.Part) -> Meaning | None:
        found = self.meaning(node.base)
        base = self._as_place(node.base, found) if found is not None else None
        if base is None or base.type is types.UNKNOWN:
            return None
        kind = types.iec_type(base.type)
        width = _PART_BITS.get(node.size, 1)
        if kind is None or kind not in types.BITS + types.INTEGERS:
            self.error(
                "ST3021",
                node,
                f"{types.type_name(base.type)} has no bits to take",
                expected="a bit string or an integer",
                found=types.type_name(base.type),
                remedy="convert the value to a bit string first",
            )
            return None
        count = types.WIDTH[kind] // width
        if not 0 <= node.index < count:
            self.error(
                "ST3021",
                node,
                f"{types.type_name(base.type)} has no part {node.index} of {width} bits",
                expected=f"0 to {count - 1}" if count else "a smaller part",
                found=str(node.index),
                remedy="choose a part that lies within the type",
            )
            return None
        place = hir.PartPlace(base.place, width, node.index, _PART_TYPE[width], self.line(node))
        return PlaceMeaning(place, place.type, base.root, base.readonly, base.doubt)
