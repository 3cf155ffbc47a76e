"""One run at a time on a lake: real processes on a folder, on SeaweedFS and on moto."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager

import pytest

from stockkit import open_lake
from stockkit.errors import LakeError
from stockkit.workbook.chain import claims, lease
from tests.aws import environment
from tests.conftest import ROOT, stockkit
from tests.s3_proxy import proxy, wait_for
from tests.workbook.test_runner import gone

# a run: it takes the lake, says so, and lets go at the end of its input; with limits of seconds in place of a minute
RUN = """
import sys
from pathlib import Path
from types import SimpleNamespace
from stockkit.aws import Session
from stockkit.errors import StockkitError
from stockkit.files import Bucket, Folder
from stockkit.workbook.chain import claims, lease
address, run, wait, dead = sys.argv[1:]
claims.DEAD, lease.MOST, lease.EVERY, lease.AGAIN, lease.TICK = float(dead), float(dead) - 1.5, 0.5, 0.2, 0.1
lease.LOOK = {"folder": 0.05, "bucket": 0.2}
bucket, _, prefix = address.removeprefix("s3://").partition("/")
files = Bucket(bucket, prefix, Session()) if address.startswith("s3://") else Folder(Path(address))
say = lambda *words: print(*words, flush=True)
waits = lambda holder: say("waits for", holder)
try:
    with lease.taken(SimpleNamespace(files=files), run, wait=float(wait), on_wait=waits) as mine:
        say("has it")
        for line in sys.stdin:
            if line.strip() == "confirm":
                mine.ask()
            say(mine.reason or "still has it")
except StockkitError as error:
    say("refused:", error)
"""


@contextmanager
def running(address, run, wait=60, dead=30):
    command = [sys.executable, "-c", RUN, str(address), run, str(wait), str(dead)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process):
    return process.stdout.readline().strip()


def asked(process, question="check"):
    process.stdin.write(f"{question}\n")
    process.stdin.flush()
    return answer(process)


@pytest.fixture
def on_seaweed(seaweed_address, monkeypatch):
    environment(seaweed_address, monkeypatch)
    return f"s3://lake/{uuid.uuid4().hex[:8]}/lake"


@pytest.fixture
def on_moto(aws):
    from stockkit.aws import Session

    name = f"lease-{uuid.uuid4().hex[:8]}"
    Session().client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return f"s3://{name}/lake"


@pytest.fixture(params=["folder", "seaweed", "moto"])
def place(request, tmp_path):
    return tmp_path / "lake" if request.param == "folder" else request.getfixturevalue(f"on_{request.param}")


@pytest.fixture
def quick(monkeypatch):
    """Limits of seconds in place of a minute."""
    monkeypatch.setattr(claims, "DEAD", 30.0)
    for name, value in {"EVERY": 0.5, "MOST": 28.0, "AGAIN": 0.2, "TICK": 0.1}.items():
        monkeypatch.setattr(lease, name, value)
    monkeypatch.setattr(lease, "LOOK", {"folder": 0.05, "bucket": 0.2})


def test_a_run_gives_up_before_others_think_that_it_is_dead():
    assert lease.MOST + lease.AGAIN + lease.TICK + 2 * lease.PATIENCE < claims.DEAD
    assert lease.HUNG + lease.TICK < claims.DEAD


def test_a_second_run_waits_until_the_first_has_ended(place):
    with running(place, "first") as first:
        assert answer(first) == "has it"
        with running(place, "second") as second:
            assert answer(second).startswith(f"waits for run first (process {first.pid} of ")
            assert asked(first) == asked(first, "confirm") == "still has it"
            first.stdin.close()
            assert answer(second) == "has it"


def test_a_run_that_is_killed_is_in_nobodys_way(place):
    with running(place, "first", dead=4) as first:
        assert answer(first) == "has it"
        first.send_signal(signal.SIGKILL)
        first.wait()
        with running(place, "second", dead=4) as second:
            lines = [answer(second)]
            while lines[-1].startswith("waits for run first"):  # on S3 it takes a while to be known as dead
                lines.append(answer(second))
            assert lines[-1] == "has it"


def test_a_run_that_does_not_wait_is_refused_with_whom_it_met(place, quick):
    lake = open_lake(str(place))
    with (
        lease.taken(lake, "first"),
        pytest.raises(LakeError, match=r"in use by run first \(process \d+ of .* s\): nothing was started"),
        lease.taken(open_lake(str(place)), "second", wait=0),
    ):
        pass
    with lease.taken(lake, "third", wait=0) as third:
        third.ask()
        assert third.reason == ""


def test_a_run_that_was_stopped_and_replaced_meanwhile_fails_when_it_wakes(on_seaweed):
    with running(on_seaweed, "first", dead=4) as first:
        assert answer(first) == "has it"
        first.send_signal(signal.SIGSTOP)
        with running(on_seaweed, "second", dead=4) as second:
            assert answer(second).startswith("waits for run first")
            assert answer(second) == "has it"
            first.send_signal(signal.SIGCONT)
            lost = asked(first, "confirm")
            assert lost.startswith(f"the lease on the lake was lost to run second (process {second.pid} of ")
            first.stdin.close()
            first.wait()
            assert asked(second, "confirm") == "still has it"  # the first let go of nothing that is not its own


def test_a_run_that_was_stopped_and_not_replaced_goes_on(on_moto):
    with running(on_moto, "first", dead=4) as first:
        assert answer(first) == "has it"
        first.send_signal(signal.SIGSTOP)
        time.sleep(3.0)  # longer than a renewal may be late
        first.send_signal(signal.SIGCONT)
        assert asked(first, "confirm") == "still has it"


def test_of_many_that_come_at_once_each_has_the_lake_alone(place, quick):
    inside, most = [], []

    def one(number):
        with lease.taken(open_lake(str(place)), f"run{number}"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


@pytest.mark.parametrize("fault", ["denied", "slow", "broken", "hang", "cut", "lost"])
def test_a_run_whose_renewals_fail_is_lost_in_time(on_moto, quick, monkeypatch, fault):
    monkeypatch.setattr(lease, "PATIENCE", 0.5)
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        with lease.taken(open_lake(on_moto), "first") as mine:
            mine.ask()
            assert mine.reason == ""
            monkeypatch.setattr(lease, "MOST", 1.0)
            between.fault = lambda method, path: fault
            assert mine.lost.wait(60)
            assert re.search(r"lost as it could not be renewed for .* s: ", mine.reason)
            between.fault = lambda method, path: ""


@pytest.mark.parametrize("fault", ["denied", "slow", "lost"])
def test_a_renewal_that_fails_once_or_whose_answer_is_lost_does_no_harm(on_moto, quick, monkeypatch, fault):
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        with lease.taken(open_lake(on_moto), "first") as mine:
            puts = iter([fault])
            between.fault = lambda method, path: next(puts, "") if method == "PUT" else ""
            seen = len(between.requests)
            wait_for(lambda: sum(method == "PUT" for method, _ in between.requests[seen:]) >= 3)
            mine.ask()
            assert mine.reason == ""


def test_a_store_that_hangs_is_noticed_by_the_clock(on_moto, quick, monkeypatch):
    monkeypatch.setattr(lease, "HUNG", 5)
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        monkeypatch.setattr(lease, "PATIENCE", 30.0)
        with lease.taken(open_lake(on_moto), "first") as mine:
            between.fault = lambda method, path: "hang"
            assert mine.lost.wait(60)
            assert "the store does not answer" in mine.reason
            between.fault = lambda method, path: ""
            between.ended.set()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("careless", "does not heed the conditions of a put"),
        ("unknown", "This store has no conditional puts"),
        ("denied", "AccessDenied: planted. Check with `aws sts get-caller-identity`"),
        ("slow", "SlowDown: planted. Nothing was changed; try again"),
    ],
)
def test_a_store_on_which_no_run_can_be_alone_is_refused_in_words(on_moto, monkeypatch, fault, says):
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        between.fault = lambda method, path: fault if method == "PUT" else ""
        lake = open_lake(on_moto)
        object.__setattr__(lake.files, "session", lake.files.session.impatient(5.0))
        with pytest.raises(LakeError) as refused, lease.taken(lake, "first"):
            pass
    assert says in str(refused.value)


def test_who_waits_for_long_is_told_again(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(lease, "REMIND", 0.1)
    met = []
    with (
        lease.taken(open_lake(str(tmp_path)), "first"),
        pytest.raises(LakeError, match="after 1 s of waiting in use by run first"),
        lease.taken(open_lake(str(tmp_path)), "second", wait=1, on_wait=met.append),
    ):
        pass
    assert len(met) > 1


def test_garbage_in_place_of_the_lease_is_waited_for_as_a_run_would_be(on_moto, quick, monkeypatch):
    monkeypatch.setattr(claims, "DEAD", 1.0)
    lake, met = open_lake(on_moto), []
    lake.files.note(claims.KEY, os.urandom(100_000))
    with lease.taken(lake, "first", on_wait=met.append) as mine:
        mine.ask()
        assert mine.reason == ""
        assert [str(holder) for holder in met] == ["a holder that does not say which run it is"]
        lake.files.note(claims.KEY, b"")
        mine.ask()
        assert "lost as something else was put in its place" in mine.reason


def test_a_folder_that_cannot_be_written_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "runs").write_text("in the way")
    with pytest.raises(LakeError, match=r"cannot write .*runs: .*make the folder writable"), \
            lease.taken(open_lake(str(tmp_path / "lake")), "first"):  # fmt: skip
        pass


def test_a_lock_file_that_was_removed_is_noticed(tmp_path):
    with lease.taken(open_lake(str(tmp_path / "lake")), "first") as mine:
        mine.ask()
        assert mine.reason == ""
        (tmp_path / "lake" / "runs" / "lease.lock").unlink()
        mine.ask()
        assert "was removed or replaced while it was locked" in mine.reason


KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
from stockkit.files import Folder
from stockkit.workbook.chain import lease
from stockkit.workbook.execution import processes
with lease.taken(SimpleNamespace(files=Folder(Path(sys.argv[1]))), "first") as mine:
    with processes.guarded(mine.handle) as guard:
        (watch,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        os.kill(int(watch), signal.SIGSTOP)
        environment = {**os.environ, processes.MARK: f"{guard.mark}.0001"}
        kernel = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
        print(watch, kernel.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_follows_a_killed_one_starts_when_the_last_process_of_that_has_ended(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        watch, kernel = map(int, killed.stdout.readline().split())
        try:
            assert killed.wait() == -signal.SIGKILL
            with (
                pytest.raises(LakeError, match="in use by run first"),
                lease.taken(open_lake(str(tmp_path)), "x", wait=0),
            ):
                pass
        finally:
            os.kill(watch, signal.SIGCONT)
        with lease.taken(open_lake(str(tmp_path)), "second"):
            assert gone(kernel)


def test_a_run_that_ends_lets_go_also_where_something_that_it_started_goes_on(tmp_path):
    with lease.taken(open_lake(str(tmp_path)), "first") as mine:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[mine.handle])
    with lease.taken(open_lake(str(tmp_path)), "second", wait=0):  # the run has let go itself
        child.kill()
        child.wait()


def test_the_command_shows_and_breaks_a_lease(place, tmp_path, quick):
    book = tmp_path
    show = ["lake", "lease", "--lake", str(place)]
    assert "no run has it" in stockkit(book, *show).stdout
    assert "no run has it" in stockkit(book, *show, "--break").stdout
    with running(place, "first") as first:
        assert answer(first) == "has it"
        assert f"run first (process {first.pid} of " in stockkit(book, *show).stdout
        broken = stockkit(book, *show, "--break")
        if "s3://" in str(place):
            assert "the lease of run first" in broken.stdout
            assert asked(first, "confirm").startswith("the lease on the lake was lost as it was broken by ")
            first.kill()
        else:
            assert (broken.returncode, "End it with `kill" in broken.stderr) == (1, True)
            first.kill()
            first.wait()
            assert "ended without saying so" in stockkit(book, *show).stdout
            stockkit(book, *show, "--break")
    assert "no run has it" in stockkit(book, *show).stdout


def test_what_is_kept_of_a_lease_is_plain_json(tmp_path):
    with lease.taken(open_lake(str(tmp_path)), "first"):
        kept = json.loads((tmp_path / claims.KEY).read_text())
        assert (kept["run"], kept["pid"], kept["ended"]) == ("first", os.getpid(), "")
    assert not (tmp_path / claims.KEY).exists()
