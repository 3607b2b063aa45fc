"""The sentence that each requirement rests on: the seed's own words, or the standard it names."""

SENTENCES = {
    "CapabilityStatement": "Seed, metadata: a holder describes itself at GET /metadata.",
    "SMART sign-in": (
        "Seed, security: the authorize and token endpoints stand in the CapabilityStatement's "
        "security extension (oauth-uris) or in .well-known/smart-configuration."
    ),
    ".well-known": "SMART App Launch 2: GET {base}/.well-known/smart-configuration.",
    "PKCE S256": "SMART App Launch 2: code_challenge_methods_supported includes S256.",
    "registration": "RFC 7591: a registration endpoint lets an app introduce itself.",
    "revocation": "RFC 7009, or a manage page for the person.",
    "approval": "Seed, security: the participant approves, and the app gets a token.",
    "a token is needed": "RFC 6750: without a valid token the answer is 401.",
    "other patients are closed": "A token opens the record of one patient: others are 403 or 404.",
    "Patient": "S4S financial use case: GET /Patient/{id}.",
    "Coverage": "S4S financial use case: GET /Coverage?beneficiary={id}.",
    "ImagingStudy first-connection": "Seed: GET /ImagingStudy?patient={{patientId}}.",
    "ExplanationOfBenefit first-connection": (
        "Seed: GET /ExplanationOfBenefit?patient={{patientId}}."
    ),
    "ImagingStudy periodic-update": (
        "Seed: GET /ImagingStudy?patient={{patientId}}&_lastUpdated=gt{{lastCheck}}."
    ),
    "ExplanationOfBenefit periodic-update": (
        "Seed: GET /ExplanationOfBenefit?patient={{patientId}}&_lastUpdated=gt{{lastCheck}}."
    ),
    "paging": "FHIR STU3: pages are linked by absolute `next` links, on the holder's own origin.",
    "resources are dated": (
        "periodic-update needs it: every resource has an id and meta.lastUpdated."
    ),
    "STU3": "Seed: the Imaging Data use case is aligned with FHIR STU3.",
    "ImagingStudy.uid": (
        "Seed: each ImagingStudy in the response bundle will include an ImagingStudy.uid value."
    ),
    "ImagingStudy.started": "FHIR: a dateTime with a time has a zone.",
    "endpoint": "Seed: ... and an ImagingStudy.endpoint reference.",
    "Endpoint.address": (
        "Seed: the reference resolves to an Endpoint whose address is a DICOM WADO service; "
        "/studies/{uid} is appended to it."
    ),
    "nothing found is no error": "FHIR: a search that finds nothing is a Bundle without entries.",
    "503 says when": (
        "Seed: the 503 response carries a Retry-After header indicating how many seconds to wait."
    ),
    "images": (
        "Seed: GET {address}/studies/{uid} with Accept: multipart/related; type=application/dicom."
    ),
    "study is whole": (
        "DICOM PS3.18 §10.4: every instance of the study, framed to its closing boundary; "
        "ImagingStudy.numberOfInstances says how many."
    ),
    "unknown study": "DICOM PS3.18 §10.4: 404 for a study that is not there.",
}
