"""An amount that only Python reads as a number is refused before anything is asked of the service."""

from pathlib import Path

import pytest

from tests.unit.ops.test_bad_values import nothing_answers, refused, run

ODD = ["1_0", "\u0661\u0662", "\uff11\uff12", "nan", "Infinity", "1e99999999999999999999"]

SAID = ("is not an amount", "is not a number", "is no amount", "a number in quotes", "Invalid decimal string")

__all__ = ["nothing_answers"]


@pytest.mark.parametrize("text", ODD)
def test_an_odd_number_is_refused_wherever_the_command_line_takes_one(
    nothing_answers: None, text: str, tmp_path: Path
) -> None:
    item = '{"source": "@A", "destination": "@B", "amount": "TEXT", "currency": "USD", "description": "d"}'
    whole, listed = tmp_path / "whole.json", tmp_path / "listed.json"
    whole.write_text(f'{{"transactions": [{item}]}}'.replace("TEXT", text))
    listed.write_text(f"[{item}]".replace("TEXT", text))
    csv = tmp_path / "rows.csv"
    csv.write_text(f"from,to,amount,currency\n@A,@B,{text},USD\n")
    for given in (
        ("post", text, "USD", "--from", "@A", "--to", "@B"),
        ("fund", "--ledger", "ldg_1", "--source", "@A", "--currency", "USD", "--amount", text),
        ("fund", "--ledger", "ldg_1", "--source", "@A", "--currency", "USD", "--top-up-to", text),
        ("fund", str(csv), "--source", "@A", "--currency", "USD", "--overdraft-limit", text),
        ("fund", str(csv), "--source", "@A", "--currency", "USD", "--expect-total", text),
        ("keys", "create", "--name", "n", "--owner", "o", "--scope", "ledgers:read", "--largest-amount", text),
        ("keys", "create", "--name", "n", "--owner", "o", "--scope", "ledgers:read", "--largest-amount", f"USD={text}"),
        ("batch", str(whole)),
        ("batch", str(listed)),
        ("batch", str(csv)),
    ):
        result = run(*given)
        refused(result, *given)
        assert any(each in result.stderr for each in SAID), result.stderr
