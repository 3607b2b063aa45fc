"""`python -m tests.cli.r4_server FILE PORT`: FHIRStarter, an R4B server that is not ours.

FILE holds resources as JSON, by type and id. There is no sign-in and no paging: it is used for
what another server's ways do to our requests.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["FHIR_SEQUENCE"] = "R4B"  # read when FHIRStarter is imported

import uvicorn
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.explanationofbenefit import ExplanationOfBenefit
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.patient import Patient
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext
from fhirstarter.exceptions import FHIRResourceNotFoundError


def application(resources: dict[str, dict[str, Any]]) -> FHIRStarter:
    """Return the server with reads and searches by patient."""
    provider = FHIRProvider()

    def read(kind: str, context: InteractionContext, id_: str) -> Any:
        del context
        found = resources.get(kind, {}).get(id_)
        if found is None:
            raise FHIRResourceNotFoundError
        return found

    def search(kind: str, patient: str | None) -> Bundle:
        entries = [
            {"resource": one}
            for one in resources.get(kind, {}).values()
            if patient and patient.removeprefix("Patient/") in json.dumps(one)
        ]
        return Bundle(type="searchset", total=len(entries), entry=entries or None)

    @provider.read(Patient)
    async def patient_read(context: InteractionContext, id_: str) -> Patient:
        return Patient(**read("Patient", context, id_))

    @provider.search_type(ImagingStudy)
    async def studies(context: InteractionContext, patient: str | None) -> Bundle:
        del context
        return search("ImagingStudy", patient)

    @provider.search_type(ExplanationOfBenefit)
    async def benefits(context: InteractionContext, patient: str | None) -> Bundle:
        del context
        return search("ExplanationOfBenefit", patient)

    app = FHIRStarter()
    app.add_providers(provider)
    return app


if __name__ == "__main__":
    content = json.loads(Path(sys.argv[1]).read_text())
    uvicorn.run(application(content), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
