"""Find the project's contracts: one a module, in the package that the settings name."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

from tidegate.contracts.model import Contract
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import ModuleType


class Registry:
    """All contracts of a project, by dataset."""

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._contracts = dict(contracts)
        for contract in self._contracts.values():
            for lookup in contract.lookups:
                if lookup.dataset not in self._contracts:
                    known = ", ".join(sorted(self._contracts))
                    msg = (
                        f"Contract {contract.name!r} looks up {lookup.dataset!r}, "
                        f"which no contract declares. Known datasets: {known}."
                    )
                    raise ContractError(msg)

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

    def match(self, key: str) -> list[Contract]:
        """The contracts whose patterns match `key` (below the landing); one, when all is well."""
        return [contract for contract in self if contract.matches(key)]

    @property
    def references(self) -> frozenset[str]:
        """Datasets that others look up."""
        return frozenset(lookup.dataset for contract in self for lookup in contract.lookups)


def load_registry(package: str, root: Path) -> Registry:
    """Import every module of `package` (found from `root`) and collect their contracts.

    Raises ContractError with the module's name when one can't be imported or declares none.
    """
    module = _import(package, root)
    contracts: dict[str, Contract] = {}
    for info in pkgutil.iter_modules(module.__path__):
        if info.name.startswith("_"):
            continue
        name = f"{package}.{info.name}"
        for contract in _declared_in(_import(name, root)):
            if contract.name in contracts:
                msg = f"{name}: the dataset {contract.name!r} is declared twice; rename one."
                raise ContractError(msg)
            contracts[contract.name] = contract
    return Registry(contracts)


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
    except ContractError:
        raise
    except Exception as error:
        msg = f"{name} (looked for in {root}) can't be imported: {type(error).__name__}: {error}"
        raise ContractError(msg) from error
