"""Whatever bytes are sent as a list, the answer is a job, a dry run or a refusal that says why, and never a 500."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.api import Api
from tests.harness.searching import search
from tests.harness.sheets import ODS_TYPE, XLSX_TYPE, csv_of, ods_of, xlsx_of

TABLE = [("destination", "amount", "description"), ("@A", 12.5, "lunch"), ("@B", 3, None)]
_GOOD = {
    "text/csv": csv_of(TABLE),
    "text/tab-separated-values": csv_of(TABLE, separator="\t", encoding="utf-16"),
    XLSX_TYPE: xlsx_of(TABLE),
    ODS_TYPE: ods_of(TABLE),
}
_JOB = {"name": "f", "source": "@P", "currency": "USD", "precision": 100, "allow_overdraft": True, "dry_run": True}
_TEXT = st.text("ab@,;\t\r\n\"'=\0\ud800é.0123456789", max_size=60)
_OURS = st.sampled_from(["", "ignore", "destination", "meta_data.x"])
_TERMS = st.fixed_dictionaries(
    {},
    optional={
        "sheet": st.sampled_from(["", "1", "Sheet1", "\u0000", "9" * 9]),
        "columns": st.dictionaries(st.sampled_from(["amount", "x", "", "Description"]), _OURS),
        "extra": st.sampled_from(["keep", "ignore", "x"]),
        "decimal": st.sampled_from([".", ",", ""]),
        "without_rows": st.lists(st.integers(-1, 5), max_size=3),
    },
)


@pytest.mark.parametrize("path", ["/funding-jobs", "/funding-jobs/rejects"])
@search(40)
@given(data=st.data(), terms=_TERMS, multipart=st.booleans())
def test_no_bytes_are_answered_with_a_500(
    api: Api, path: str, data: st.DataObject, terms: dict[str, Any], multipart: bool
) -> None:
    kind = data.draw(st.sampled_from([*_GOOD]))
    body = bytearray(_GOOD[kind])
    match data.draw(st.sampled_from(["bytes", "text", "broken"])):
        case "bytes":
            body = bytearray(data.draw(st.binary(max_size=100)))
        case "text":
            body = bytearray(b"destination,amount,description\n" + data.draw(_TEXT).encode(errors="surrogatepass"))
        case _:
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    job = json.dumps({**_JOB, "file": terms})
    if multipart:
        parts = {"job": job, "recipients": (io.BytesIO(bytes(body)), "x")}
        response = api.client.post(path, data=parts, content_type="multipart/form-data")
    else:
        response = api.client.post(path, query_string={"job": job}, data=bytes(body), content_type=kind)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        detail = response.get_json()["error_detail"]
        assert detail["code"].startswith(("FND_", "GEN_")) and detail["message"]
        for problem in (detail.get("details") or {}).get("problems", ()):
            assert {"field", "message"} <= problem.keys()
