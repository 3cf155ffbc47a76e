from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stockkit.errors import ParamError, StockkitError
from stockkit.workbook import param_values, params
from stockkit.workbook.notebooks import Notebook
from tests.market.test_schema import ODD

DEFAULTS = {
    "lake": "data/lake", "source": "sample", "symbols": ["AAPL"], "start": "earliest", "as_of": "latest",
    "calendar": "XNYS", "horizon": 1, "level": 0.05, "deep": False,
}  # fmt: skip
NOTEBOOK = Notebook("01_x", Path("01_x.ipynb"), "?", DEFAULTS, (), ())


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else f"notebooks: [01_x]\n{text}".encode())
    return path


def resolve(tmp_path, text="", *overrides):
    given = params.load(write(tmp_path, text))
    return params.resolve([NOTEBOOK], given.values, params.parse_overrides(overrides))


def test_a_default_is_weaker_than_the_file_which_is_weaker_than_p(tmp_path):
    values = resolve(tmp_path, "horizon: 5\nlevel: 0.1", "horizon=20")
    assert values == {**DEFAULTS, "horizon": 20, "level": 0.1}


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_symbols_stay_strings_quoted_or_not_in_the_file_and_on_the_command_line(tmp_path, quote):
    listed = "[" + ", ".join(quote + symbol + quote for symbol in ODD) + "]"
    assert resolve(tmp_path, f"symbols: {listed}")["symbols"] == ODD
    assert resolve(tmp_path, "", f"symbols={listed}")["symbols"] == ODD


def test_a_day_that_yaml_would_turn_into_a_date_stays_a_string(tmp_path):
    assert resolve(tmp_path, "start: 2020-01-02")["start"] == "2020-01-02"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("horizn: 5", "no parameter 'horizn'. Did you mean 'horizon'"),
        ("zzz: 5", "Known: as_of"),
        ("horizon: five", "horizon must be a whole number, found 'five'"),
        ("horizon: 1.5", "horizon must be a whole number"),
        ('horizon: "5"', "horizon must be a whole number"),
        ("horizon: true", "horizon must be a whole number"),
        ("horizon: [1]", "horizon must be a whole number, found a list"),
        ("horizon:", "horizon must be a whole number"),
        ("horizon: 0", "1 to 252"),
        ("horizon: 1000", "1 to 252"),
        ("level: high", "level must be a number"),
        ("deep: 1", "deep must be true or false"),
        ("symbols: AAPL", r"symbols must be a list, found 'AAPL': write symbols=\[AAPL\]"),
        ("symbols: []", "empty list"),
        ("symbols: [A, A]", "more than once"),
        ("symbols: ['../../etc/passwd']", "is not a symbol"),
        ("symbols: [[A]]", "must be a text"),
        ("lake:", "lake has no value"),
        ('lake: " "', "lake is empty"),
        ("start: 21/09/2023", "start must be a day"),
        ("start: 2023-02-30", "start must be a day"),
        ("as_of: yesterday", "as_of must be a day such as 2023-09-21, or 'latest'"),
        ("calendar: NYSE2", "not an exchange calendar"),
        ("horizon: 1\nhorizon: 2", "line 3: 'horizon' is given twice"),
        ("lake: {a: 1}", "flat"),
        ("lake: [", "not YAML"),
        ("lake: &x a", "anchors"),
        ("lake: !!python/object:os.system x", "anchors"),
        (b"\xff", "not UTF-8"),
        (b"", "flat"),
        (b"horizon: 1", "lacks the key `notebooks`"),
        (b"notebooks: []", "empty list"),
        (b"notebooks: " + b"a" * 2_000_000, "no parameters file"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_way_out(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(StockkitError, match=says):
        params.resolve([NOTEBOOK], params.load(path).values)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n"
    with pytest.raises(ParamError, match="anchors"):
        params.load(write(tmp_path, bomb))


@pytest.mark.parametrize(
    ("word", "says"), [("horizon", "name=value"), ("=5", "name=value"), ("symbols=[A", "not YAML")]
)
def test_a_malformed_override_is_refused(word, says):
    with pytest.raises(ParamError, match=says):
        params.parse_overrides([word])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ParamError, match="No such file"):
        params.load(tmp_path / "none.yaml")


def test_two_notebooks_may_not_mean_different_types_by_one_name():
    other = Notebook("02_x", Path("02_x.ipynb"), "?", {"horizon": "one"}, (), ())
    with pytest.raises(ParamError, match="another type in 02_x"):
        params.resolve([NOTEBOOK, other])


def test_the_params_files_mean_the_same_to_papermill(monkeypatch):
    """`papermill -f` reads them with plain YAML, which would turn NO into False: so they quote."""
    for path in Path(__file__).parents[2].glob("params/*.yaml"):
        plain = yaml.safe_load(path.read_text())
        ours = params.load(path)
        like = {**DEFAULTS, **{name: value for name, value in plain.items() if name != "notebooks"}}
        assert {name: params.convert(node, like[name], name) for name, node in ours.values.items()} == {
            name: value for name, value in plain.items() if name != "notebooks"
        }


def test_a_lake_is_a_folder_or_an_s3_address_whose_options_are_known():
    good = "s3://my-bucket/lake?database=stock_data&workgroup=primary"
    assert [param_values.check("lake", lake) for lake in ("data/lake", good)] == ["data/lake", good]
    with pytest.raises(ParamError, match="Did you mean 'workgroup'"):
        param_values.check("lake", "s3://my-bucket/lake?database=stock_data&workgrup=primary")
    with pytest.raises(ParamError, match="no bucket name"):
        param_values.check("lake", "s3://My_Bucket/lake")


@pytest.mark.parametrize(
    ("name", "good", "bad", "says"),
    [
        ("engine", "spark", "Spark", "engine must be local or spark, found 'Spark'"),
        ("dtype", "float32", "float16", "dtype must be float64 or float32, found 'float16'"),
        ("groups", ["basic", "alpha158"], ["basics"], "'basics' is no group of features. Did you mean 'basic'"),
        ("groups", ["all"], [], "groups is an empty list"),
    ],
)
def test_what_features_are_asked_for_is_known_before_anything_starts(name, good, bad, says):
    assert param_values.check(name, good) == good
    with pytest.raises(ParamError, match=says):
        param_values.check(name, bad)


def test_a_file_overrules_single_days_of_the_calendar(tmp_path):
    path = tmp_path / "days.csv"
    path.write_text("# ours\nday,state\n2023-09-16,open\n2023-09-18 closed # a storm\n\n")
    assert param_values.check("calendar", f"XNYS@{path}") == "XNYS +2023-09-16 -2023-09-18"


@pytest.mark.parametrize(
    ("text", "says"),
    [("2023-09-16\n", "line 1: '2023-09-16' overrules no day"), ("2023-09-31,open\n", "overrules no day"),
     ("a day,open\n", "overrules no day"), (None, "cannot be read")],
)  # fmt: skip
def test_a_file_of_days_that_overrules_nothing_is_refused(tmp_path, text, says):
    path = tmp_path / "days.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParamError, match=says):
        param_values.check("calendar", f"XNYS@{path}")


def test_which_rules_are_allowed_and_how_dates_are_written_is_checked_before_the_start():
    assert param_values.check("allow", ["before_calendar"]) == ["before_calendar"]
    with pytest.raises(ParamError, match="Did you mean 'before_calendar'"):
        param_values.check("allow", ["before_calender"])
    with pytest.raises(ParamError, match="dates must be auto or DMY or MDY or YMD, found 'dmy'"):
        param_values.check("dates", "dmy")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("symbols: " + "[" * 5_000 + "]" * 5_000, "nested deeper than"),
        ("symbols: " + "{a: " * 5_000, "nested deeper than"),
        ("symbols:\n" + "- " * 5_000 + "a", "nested deeper than"),
        ("source: " + "x" * 500_000, "source has 500,000 characters"),
        ("x" * 900 + ": 1", "there is no parameter 'xxx"),
        ('source: "a\\0b"', "a control character"),
        ('source: "a\\eb"', "a control character"),
        ('source: "a\\ud800b"', "not YAML"),
        ("source: a\0b", "control characters are not allowed"),
        ("level: inf", "level must be a number"),
        ("level: nan", "level must be a number"),
        ("horizon: " + "9" * 500_000, "horizon must be a whole number"),
        ("symbols: [" + ", ".join(f"S{k // 2}" for k in range(30_000)) + "]", "and 14995 others more than once"),
        ("cell_timeout: 0", "cell_timeout must be 1 to"),
        ("cell_timout: 5", "Did you mean 'cell_timeout'"),
    ],
)
def test_whatever_a_file_or_a_word_holds_the_refusal_is_one_short_line(tmp_path, text, says):
    word = text.replace(": ", "=", 1)
    for given in ((text,), ("", word)) if "\n" not in text and "\0" not in text else ((text,),):
        with pytest.raises(StockkitError, match=says) as refused:
            resolve(tmp_path, *given)
        assert len(str(refused.value)) < 700
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("word", ["source=a\udcffb", "a\udcffb=1", "x" * 500_000, "x" * 500_000 + "=1"])
def test_a_word_that_no_shell_would_give_is_refused_in_ascii(tmp_path, word):
    with pytest.raises(ParamError) as refused:
        resolve(tmp_path, "", word)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 700


def test_thirty_thousand_symbols_are_read():
    listed = [f"S{k}" for k in range(30_000)]
    given = params.parse_overrides([f"symbols=[{', '.join(listed)}]"])
    assert params.resolve([NOTEBOOK], given)["symbols"] == listed


def test_limits_of_time_are_known_to_every_chain_and_kept_where_they_are_given(tmp_path):
    assert resolve(tmp_path, "run_timeout: 60") == {**DEFAULTS, "run_timeout": 60}
