from __future__ import annotations

import pandas as pd

from stockkit.market import action_history, corporate_actions
from stockkit.market.action_history import Statement

HEADER = "symbol,ex_date,kind,value\n"
DAYS = [pd.Timestamp(f"2023-10-0{day}", tz="UTC") for day in (1, 2, 3, 4)]


def statement(*lines: str, day: int, span: tuple[str, str] | None = None) -> Statement:
    listed = corporate_actions.read((HEADER + "\n".join(lines)).encode(), file="actions.csv")
    return Statement(listed, DAYS[day], span and (pd.Timestamp(span[0]), pd.Timestamp(span[1])))


def standing(*voices: list[Statement]) -> tuple[list[list], list[list]]:
    known = action_history.known(*voices)
    changed = known.changed.assign(day=known.changed["changed_at"].dt.day).sort_values(["symbol", "ex_date"])
    return known.actions[["symbol", "value"]].values.tolist(), changed[["symbol", "day"]].values.tolist()


def test_an_action_stands_since_the_first_statement_that_says_it_so():
    same = "A,2020-01-03,split,4"
    assert standing([statement(same, day=0), statement(same, "B,2020-01-03,split,2", day=1)]) == (
        [["A", 4.0], ["B", 2.0]],
        [["A", 1], ["B", 2]],
    )


def test_a_corrected_action_and_a_withdrawn_one_count_from_the_day_of_the_correction():
    first, second = (
        statement("A,2020-01-03,split,4", "B,2020-01-03,split,2", day=0),
        statement("A,2020-01-03,split,5", day=2),
    )
    assert standing([first, second]) == ([["A", 5.0]], [["A", 3], ["B", 3]])


def test_a_later_answer_speaks_only_of_its_days():
    first = statement("A,2020-01-03,split,4", "A,2021-01-04,split,2", day=0, span=("2019-01-02", "2021-06-01"))
    later = statement("A,2021-01-04,split,3", day=1, span=("2021-01-04", "2022-01-03"))
    assert standing([first, later])[0] == [["A", 4.0], ["A", 3.0]]


def test_what_is_added_by_hand_is_believed_before_the_source():
    source, hand = (
        [statement("A,2020-01-03,split,4", day=2)],
        [statement("A,2020-01-03,split,5", "B,2020-01-03,split,2", day=0)],
    )
    assert standing(source, hand) == ([["A", 5.0], ["B", 2.0]], [["A", 1], ["B", 1]])


def test_a_fault_is_settled_by_a_later_statement_about_its_day():
    bad = statement("A,2020-01-03,split,four", day=0, span=("2020-01-02", "2020-02-03"))
    good = statement("A,2020-01-03,split,4", day=1, span=("2020-01-02", "2020-02-03"))
    elsewhere = statement(day=1, span=("2021-01-04", "2021-02-03"))
    assert len(action_history.known([bad, elsewhere]).faults) == 1
    assert action_history.known([bad, good]).faults.empty


def test_a_day_is_free_of_a_bad_split_since_the_statement_without_it():
    bad, without = statement("A,2020-01-03,split,four", day=0), statement("B,2020-01-03,split,2", day=2)
    assert action_history.known([bad]).changed.empty
    known = action_history.known([bad, without])
    assert known.changed[["symbol", "kind"]].values.tolist() == [["A", action_history.SCALE], ["B", "split"]]
    assert known.changed["changed_at"].dt.day.tolist() == [3, 3]
    assert known.actions["symbol"].tolist() == ["B"]
