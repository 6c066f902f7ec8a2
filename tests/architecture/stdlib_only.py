"""An import contract: shipped packages import the standard library and each other."""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

OURS = frozenset(
    ("lambdallm", "lambdallm_cli", "lambdallm_extension", "lambda_runtime_api", "lambdallm_wire")
)


class StdlibOnlyContract(Contract):  # type: ignore[misc]  # import-linter is not typed
    """Broken by an import of anything else, save the exceptions `importer -> package`."""

    source_packages = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        exceptions = [tuple(line.split(" -> ")) for line in self.allowed or []]
        broken = []
        for module in sorted(graph.modules):
            if module.split(".")[0] not in self.source_packages:
                continue
            for imported in graph.find_modules_directly_imported_by(module):
                top = imported.split(".")[0]
                if top in OURS or top in sys.stdlib_module_names:
                    continue
                if not any(
                    (module == importer or module.startswith(f"{importer}.")) and top == package
                    for importer, package in exceptions
                ):
                    broken.append((module, imported))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} imports {imported}")
