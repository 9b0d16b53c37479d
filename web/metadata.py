"""``POST /<id>/metadata``: add to the metadata of a ledger, balance, identity, monitor, funding job, transaction or batch."""

import msgspec
from flask import Blueprint, Response

from core.base.actors import Right, current, reach_of_request
from core.base.db import begin
from core.base.errors import BeyondKey, ErrorCode, InvalidRequest
from core.base.metadata import meta_data_problems, meta_data_text
from core.funding import jobs
from core.funding.job_store import JOB_PREFIX
from core.identities import identities
from core.identities.store import PREFIX
from core.ledger.answers import Added
from core.ledger.metadata import add_metadata
from core.ledger.rules.requests import MetaDataRequest
from core.monitors import monitors
from core.monitors import store as monitor_store
from web.http import wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("metadata", __name__)

_SHARED = "an identity may have balances out of reach of this key, so the key does not change it"


@blueprint.post("/<entity_id>/metadata")
@operation({200: Added}, 404, body=MetaDataRequest)
def add(entity_id: str) -> Response:
    """Add metadata.

    Members are added to the metadata of a ledger, balance, identity, monitor, funding job, transaction or batch, or replaced in
    it.
    Metadata of a batch is also added to its transactions. Metadata of a transaction is also added to its legs, settlements and
    refunds. The hash of a transaction does not cover it.
    """
    given = bytes(wire.body(MetaDataRequest).meta_data)
    if problems := meta_data_problems(given) if given else []:
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    text = meta_data_text(given)
    if text is None:
        raise InvalidRequest([("meta_data", "is required, an object")], ErrorCode.GEN_MALFORMED_REQUEST)
    with begin(service().engine) as conn:
        if entity_id.startswith(PREFIX):
            if not current().may(Right.METADATA_WRITE):
                current().require(Right.IDENTITIES_WRITE)
            if reach_of_request().bounds_balances:
                raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, _SHARED)
            merged = identities.add_metadata(conn, entity_id, text)
        elif entity_id.startswith(JOB_PREFIX):
            if not current().may(Right.METADATA_WRITE):
                current().require(Right.FUNDING_CONTROL)
            merged = jobs.add_metadata(conn, entity_id, text)
        elif entity_id.startswith(monitor_store.PREFIX):
            if not current().may(Right.METADATA_WRITE):
                current().require(Right.BALANCE_MONITORS_WRITE)
            merged = monitors.add_metadata(conn, entity_id, text)
        else:
            merged = add_metadata(conn, entity_id, text)
    added = msgspec.Raw(merged.encode())
    return wire.answer(Added(meta_data=added, metadata=added))
