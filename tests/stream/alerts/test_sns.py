"""Each alert comes out of a queue behind an SNS topic once, under its id."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from stockkit.aws import Session
from stockkit.errors import ParamError
from stockkit.stream import alerts
from stockkit.stream.alerts.delivery import SECOND
from stockkit.stream.alerts.outbox import Alert
from stockkit.stream.alerts.sns import publication
from tests.stream.alerts.posting import HOSTILE, post

pytestmark = pytest.mark.usefixtures("unhurried")


def queue_behind(ending: str = "") -> tuple[str, str]:
    """A topic's ARN and the URL of a queue that gets what is published to it."""
    name = f"alerts-{uuid.uuid4().hex[:8]}{ending}"
    session = Session()
    fifo = {"FifoTopic": "true"} if ending else {}
    topic = session.client("sns").create_topic(Name=name, Attributes=fifo)["TopicArn"]
    sqs = session.client("sqs")
    queue = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if ending else {})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    session.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, queue


def received(queue: str) -> list[dict[str, object]]:
    """What SNS put into a queue."""
    sqs, messages = Session().client("sqs"), []
    while got := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            messages.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


@pytest.mark.parametrize("ending", ["", ".fifo"])
def test_each_alert_comes_out_of_the_queue_once_with_its_id(aws, store, ending):
    topic, queue = queue_behind(ending)
    expected = post(store, 12, f"sns:{topic}", text=HOSTILE)
    notifiers = alerts.open_notifiers([f"sns:{topic}"], store.path.parent)
    assert alerts.deliver(store, notifiers, SECOND) == 12
    messages = received(queue)
    bodies = [json.loads(message["Message"]) for message in messages]
    assert sorted(body["id"] for body in bodies) == sorted(expected)
    assert all(body["text"].startswith(HOSTILE) for body in bodies)
    assert [message["MessageAttributes"]["id"]["Value"] for message in messages] == [body["id"] for body in bodies]


def test_an_alert_that_is_sent_again_comes_out_of_a_fifo_queue_once(aws, store):
    topic, queue = queue_behind(".fifo")
    [name] = post(store, 1, f"sns:{topic}")
    alert = store.waiting(f"sns:{topic}", SECOND, 1)
    for _ in range(2):
        alerts.open_notifiers([f"sns:{topic}"], store.path.parent)[f"sns:{topic}"].send(alert)
    assert [json.loads(message["Message"])["id"] for message in received(queue)] == [name]


def test_a_topic_that_is_not_there_is_given_up_with_its_reason(aws, store):
    channel = "sns:arn:aws:sns:eu-central-1:123456789012:nowhere"
    post(store, 1, channel)
    assert alerts.deliver(store, alerts.open_notifiers([channel], store.path.parent), SECOND) == 0
    assert "NotFound" in store.posted("given up", 1)[0].detail


def test_what_may_pass_is_tried_again(aws, store, monkeypatch):
    topic, queue = queue_behind()
    channel = f"sns:{topic}"
    expected = post(store, 2, channel)
    notifiers = alerts.open_notifiers([channel], store.path.parent)
    throttled = {"Error": {"Code": "Throttling", "Message": "slow down"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    class Throttled:
        def publish(self, **request):
            raise ClientError(throttled, "Publish")

    client = notifiers[channel]._client
    notifiers[channel]._client = Throttled()
    assert alerts.deliver(store, notifiers, SECOND) == 0
    assert store.alert_counts() == {"waiting": 2}
    notifiers[channel]._client = client
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    unreachable = alerts.open_notifiers([channel], store.path.parent)
    assert alerts.deliver(store, unreachable, 10 * SECOND) == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    assert "SNS cannot be reached" in store.paused(channel).detail
    assert alerts.deliver(store, notifiers, 100 * SECOND) == 2
    assert sorted(json.loads(message["Message"])["id"] for message in received(queue)) == sorted(expected)


def test_an_id_that_sns_does_not_take_as_a_name_goes_by_its_hash():
    alert = Alert(1, "tick:5/20:" + "t" * 200 + ":7", "sns", "A B", "{}", 0, 0)
    request = publication("arn:aws:sns:eu-central-1:123456789012:a.fifo", alert)
    assert len(request["MessageDeduplicationId"]) == len(request["MessageGroupId"]) == 64
    assert "MessageGroupId" not in publication("arn:aws:sns:eu-central-1:123456789012:a", alert)


@pytest.mark.parametrize("topic", ["alerts", "arn:aws:sqs:eu-central-1:123456789012:a", "arn:aws:sns:eu-central-1:1:a"])
def test_what_names_no_topic_is_refused(tmp_path, topic):
    with pytest.raises(ParamError, match="names no topic"):
        alerts.open_notifiers([f"sns:{topic}"], tmp_path)
