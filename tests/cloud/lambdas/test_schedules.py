"""Over seeded schedules of a mapping and storage that fail, nothing is lost, doubled or other than pandas says."""

from __future__ import annotations

import pytest

from stockkit.cloud.lambdas import kinesis
from stockkit.cloud.lambdas.proof import scenes, schedules
from stockkit.cloud.lambdas.proof.doubles import FAULTS
from stockkit.cloud.lambdas.states import States
from stockkit.stream.proof.event_source import Violation


def run(schedule, **planted):
    for seed in range(60):
        schedule(seed, **planted)


def test_schedules_of_both_functions_come_to_what_they_must_and_every_fault_was_among_them():
    done = schedules.run(150)
    assert done["signals"] > 1_000
    assert min(done[fault] for fault in [*FAULTS, "late and refused", "beside", "given up"]) > 50


@pytest.mark.parametrize("planted", [{"conditions": False}, {"atomic": False}])
def test_a_database_without_conditions_or_transactions_is_found_out(planted):
    with pytest.raises(Violation):
        run(schedules.run_trend, **planted)


def test_a_function_that_swallows_failures_is_found_out(monkeypatch):
    monkeypatch.setattr(kinesis, "answer", lambda failed: None)
    with pytest.raises(Violation, match="lost"):
        run(schedules.run_trend)


def test_a_function_that_stores_states_and_alerts_apart_is_found_out(monkeypatch):
    commit = States.commit

    def apart(self, before, after, last_sequence, alerts):
        done = commit(self, before, after, last_sequence, [])
        for alert in alerts if done else ():
            self.client.put_item(TableName="outbox", Item=self.outbox.put(alert)["Put"]["Item"])
        return done

    monkeypatch.setattr(States, "commit", apart)
    with pytest.raises(Violation, match="signals"):
        run(schedules.run_trend)


def test_quotes_without_conditions_are_found_out():
    with pytest.raises(Violation, match="quotes"):
        run(schedules.run_transform, conditions=False)


def test_scenes_have_what_they_promise():
    made = [scenes.draw(schedules.Random(seed), duplicates=True) for seed in range(30)]
    assert any(scene.corrupt for scene in made)
    assert any(len(scenes.distinct(scene.ticks)) < len(scene.ticks) for scene in made)
    assert any(all(shard.records for shard in scene.shards[2:]) for scene in made)
    assert any(len({len(str(record.sequence)) for shard in scene.shards for record in shard.records}) > 1
               for scene in made)  # fmt: skip
