"""Part D prescription drug events."""

from __future__ import annotations

from .claim_bricks import (
    NPI,
    adjudication,
    care_team,
    cents,
    coding,
    concept,
    identifier_extension,
    information,
    variable,
)
from .claims import Visit, head
from .people import BLUE_BUTTON, Resource, coding_extension


def pde(visit: Visit, ndc: str, drug: str, cost: float, *, days: int, fill: int) -> Resource:
    """A drug dispensed under Part D; all money is on its one line."""
    made = head(
        visit,
        "pde",
        [
            coding(f"{BLUE_BUTTON}/codesystem/eob-type", "PDE"),
            coding("http://hl7.org/fhir/ex-claimtype", "pharmacy", "Pharmacy"),
        ],
        "d",
        id_variable="pde_id",
    )
    made["identifier"].append(
        {"system": variable("rx_srvc_rfrnc_num"), "value": str(int(visit.claim_id) % 10**6)}
    )
    made["insurance"]["coverage"]["extension"] = [
        identifier_extension("plan_cntrct_rec_id", "S9999"),
        identifier_extension("plan_pbp_rec_num", "020"),
    ]
    pharmacy = {"identifier": {"system": NPI, "value": "9999999992"}, "display": "Sandbox Pharmacy"}
    made["organization"] = pharmacy
    made["facility"] = {
        "extension": [coding_extension("phrmcy_srvc_type_cd", "01", "Community/retail pharmacy")],
        **pharmacy,
    }
    made["information"] = [
        information(1, "daw_prod_slctn_cd", code="0"),
        information(2, "dspnsng_stus_cd", code="C"),
        information(3, "drug_cvrg_stus_cd", code="C"),
        information(4, "rx_orgn_cd", code="3"),
    ]
    made["careTeam"] = care_team(visit.provider)
    patient_pays = cents(cost * 0.25)
    amounts = {
        "cvrd_d_plan_pd_amt": cost - patient_pays,
        "gdc_blw_oopt_amt": cost,
        "gdc_abv_oopt_amt": 0,
        "ptnt_pay_amt": patient_pays,
        "othr_troop_amt": 0,
        "lics_amt": 0,
        "plro_amt": 0,
        "tot_rx_cst_amt": cost,
        "rptd_gap_dscnt_num": 0,
    }
    made["item"] = [
        {
            "sequence": 1,
            "careTeamLinkId": [1],
            "service": concept("http://hl7.org/fhir/sid/ndc", ndc, drug),
            "servicedDate": visit.start,
            "quantity": {
                "extension": [
                    {"url": variable("fill_num"), "valueQuantity": {"value": fill}},
                    {"url": variable("days_suply_num"), "valueQuantity": {"value": days}},
                ],
                "value": float(days),
            },
            "adjudication": [adjudication(name, amount) for name, amount in amounts.items()],
            "detail": [
                {
                    "sequence": 1,
                    "type": concept(
                        "http://hl7.org/fhir/v3/ActCode", "RXDINV", "Rx dispense invoice"
                    ),
                }
            ],
        }
    ]
    made["payment"] = {"date": visit.processed}
    return made
