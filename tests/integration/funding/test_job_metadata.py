"""Metadata of funding jobs, which is added later and changes nothing that they pay."""

from tests.harness.api import Api, ok, refused

UNKNOWN = "fund_01928ee1-7e5a-7000-8000-000000000000"


def test_metadata_is_merged_into_a_funding_job(api: Api) -> None:
    asked = {
        "name": "a job",
        "source": "@Pool",
        "currency": "USD",
        "precision": 100,
        "recipients": [{"destination": "@A", "precise_amount": 1}],
        "at": "2999-01-01T00:00:00Z",
    }
    job = ok(api.client.post("/funding-jobs", json=asked), 201)
    assert job["meta_data"] is None
    path = f"/funding-jobs/{job['job_id']}"
    ok(api.client.post(f"/{job['job_id']}/metadata", json={"meta_data": {"team": "treasury", "n": 1.5}}), 200)
    merged = ok(api.client.post(f"/{job['job_id']}/metadata", json={"meta_data": {"n": 2}}), 200)
    assert merged["metadata"] == {"team": "treasury", "n": 2} == api.get(path)["meta_data"]
    (audited, _) = [row for row in api.get("/audit", action_eq="metadata.changed") if row["subject"] == job["job_id"]]
    assert audited["details"]["after"] == {"team": "treasury", "n": 2}
    refused(api.client.post(f"/{UNKNOWN}/metadata", json={"meta_data": {}}), 404, "META_ENTITY_NOT_FOUND")
