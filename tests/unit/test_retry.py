from __future__ import annotations

from broker_config.messages import ErrorInfo
from runner.core import retry

CRASH = ErrorInfo(kind="browser_crashed", detail="gone", infrastructure=True)
SITE = ErrorInfo(kind="http_status", detail="500")


def test_only_infrastructure_is_tried_again_while_attempts_are_left() -> None:
    assert retry.again(CRASH, attempt=1, retries=1)
    assert not retry.again(CRASH, attempt=2, retries=1)
    assert not retry.again(CRASH, attempt=1, retries=0)
    assert not retry.again(SITE, attempt=1, retries=5)
    assert not retry.again(None, attempt=1, retries=5)


def test_poison_is_what_crashed_the_browser_each_time() -> None:
    final = retry.final_error(CRASH, ["browser_crashed"], 2)
    assert final is not None
    assert final.kind == "poison"
    assert "gone" in final.detail
    assert retry.final_error(CRASH, ["egress_failed"], 2) == CRASH
    assert retry.final_error(CRASH, [], 1) == CRASH
    assert retry.final_error(SITE, ["browser_crashed"], 2) == SITE
    assert retry.final_error(None, ["browser_crashed"], 2) is None
