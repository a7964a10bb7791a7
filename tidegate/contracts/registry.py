"""Find the project's contracts: one a module, in the package that the settings name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.contracts.keys import Beginnings
from tidegate.contracts.model import Contract
from tidegate.contracts.places import explain, line_of, place_of
from tidegate.contracts.policies import Lookup
from tidegate.contracts.validity import mistakes
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from tidegate.contracts.places import Where


class Registry:
    """All contracts of a project, by dataset."""

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        files: Mapping[str, Path] | None = None,
        root: Path | None = None,
    ) -> None:
        self._contracts = dict(contracts)
        self._files = dict(files or {})
        self._root = root or Path()
        for contract in self._contracts.values():
            for number, step in enumerate(contract.enrich):
                if isinstance(step, Lookup) and step.dataset not in self._contracts:
                    known = ", ".join(sorted(self._contracts))
                    msg = (
                        f"Contract {contract.name!r} looks up {step.dataset!r}, "
                        f"which no contract declares. Known datasets: {known}."
                    )
                    place = self.place(contract.name, ("enrich", number, "dataset"))
                    raise ContractError(f"{place}: {msg}" if place else msg)
        self._refuse_circles()
        all_of = self._contracts.items()
        self._by_key = Beginnings((one.beginning, name) for name, of in all_of for one in of.patterns)
        self._by_manifest = Beginnings((one, name) for name, of in all_of for one in of.manifest_beginnings)

    def _refuse_circles(self) -> None:
        """Datasets that look up each other would wait for each other."""
        done: set[str] = set()

        def follow(dataset: str, path: tuple[str, ...]) -> None:
            if dataset in path:
                circle = [*path[path.index(dataset) :], dataset]
                place = self.place(path[-1], ("enrich",))
                msg = (
                    f"Contract {path[-1]!r} looks up {dataset!r}, and so a dataset waits for itself: "
                    f"{' -> '.join(circle)}. Take one of these lookups out."
                )
                raise ContractError(f"{place}: {msg}" if place else msg)
            if dataset not in done:
                for lookup in self._contracts[dataset].lookups:
                    follow(lookup.dataset, (*path, dataset))
                done.add(dataset)

        for name in self._contracts:
            follow(name, ())

    def __iter__(self) -> Iterator[Contract]:
        return iter(self._contracts.values())

    def __getitem__(self, dataset: str) -> Contract:
        try:
            return self._contracts[dataset]
        except KeyError:
            known = ", ".join(sorted(self._contracts)) or "none"
            msg = f"No data contract declares the dataset {dataset!r}. Known datasets: {known}."
            raise ContractError(msg) from None

    def __contains__(self, dataset: object) -> bool:
        return dataset in self._contracts

    def place(self, dataset: str, where: Where = ()) -> str:
        """``data_contracts/orders.py, line 17``; empty for a contract that was not read from a file."""
        file = self._files.get(dataset)
        return place_of(file, line_of(file, dataset, where), self._root) if file else ""

    def match(self, key: str) -> list[Contract]:
        """The contracts whose patterns match `key` (below the landing); one, when all is well."""
        may_match = (self._contracts[name] for name in self._by_key.of(key))
        return [contract for contract in may_match if contract.matches(key)]

    def manifest_of(self, key: str) -> Contract | None:
        """The contract among whose manifests `key` (below the landing) is."""
        may_match = (self._contracts[name] for name in self._by_manifest.of(key))
        return next((contract for contract in may_match if contract.has_manifest(key)), None)

    @property
    def references(self) -> frozenset[str]:
        """Datasets that others look up."""
        return frozenset(lookup.dataset for contract in self for lookup in contract.lookups)


def load_registry(package: str, root: Path) -> Registry:
    """Import every module of `package` (found from `root`) and collect their contracts.

    Raises ContractError when a module can't be imported, declares no contract, or one that
    contradicts itself; the message begins with the file and the line to change.
    """
    module = _import(package, root)
    contracts: dict[str, Contract] = {}
    files: dict[str, Path] = {}
    for info in pkgutil.iter_modules(module.__path__):
        if info.name.startswith("_"):
            continue
        loaded = _import(f"{package}.{info.name}", root)
        file = Path(loaded.__file__ or "")
        for contract in _declared_in(loaded):
            place = place_of(file, line_of(file, contract.name, ("name",)), root)
            if contracts.setdefault(contract.name, contract) is not contract:
                msg = f"{place}: the dataset {contract.name!r} is declared twice; rename one."
                raise ContractError(msg)
            files.setdefault(contract.name, file)
    registry = Registry(contracts, files, root)
    found = [
        f"{registry.place(contract.name, one.where)}: {one.message}"
        for contract in registry
        for one in mistakes(contract)
    ]
    if found:
        raise ContractError("\n".join(found))
    return registry


def source_files(package: str, root: Path) -> list[Path]:
    """The Python files of the contracts' package, without importing them."""
    return sorted(root.joinpath(*package.split(".")).rglob("*.py"))


def load_contract(file: Path) -> Contract:
    """The contract that one Python file declares, wherever it lies; ContractError as `load_registry`."""
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        msg = f"{file} is not a Python file with a data contract."
        raise ContractError(msg)
    module = importlib.util.module_from_spec(spec)
    # Pandera looks for a schema's annotations in the module it came from.
    sys.modules.setdefault(name, module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ContractError(explain(error, file, Path.cwd())) from error
    found = {contract.name: contract for contract in _declared_in(module)}
    if len(found) > 1:
        msg = f"{file} declares {', '.join(sorted(found))}; give a file with one contract."
        raise ContractError(msg)
    contract = next(iter(found.values()))
    wrong = "\n".join(
        f"{place_of(file, line_of(file, contract.name, one.where), Path.cwd())}: {one.message}"
        for one in mistakes(contract)
    )
    if wrong:
        raise ContractError(wrong)
    return contract


def _declared_in(module: ModuleType) -> list[Contract]:
    found = [value for value in vars(module).values() if isinstance(value, Contract)]
    if not found:
        msg = f"{module.__name__} declares no Contract; add one or start the file's name with _."
        raise ContractError(msg)
    return found


def _import(name: str, root: Path) -> ModuleType:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ContractError(_explained(error, name, root)) from error


def _explained(error: Exception, name: str, root: Path) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return (
            f"The package {name!r} is not in {root} nor installed ({error}). Make a folder {name} there, "
            'or name yours in tidegate.toml: contracts = "…".'
        )
    return explain(error, Path(spec.origin), root)
