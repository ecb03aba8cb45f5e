import asyncio
from contextlib import contextmanager

import msgspec
import pytest
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from parties.coordinator.progress import Checkpoint, RoundRecord, RunProgress
from parties.coordinator.runbook import Runbook
from parties.embedded import MemoryJournal
from protocols.errors import JournalError, MisuseError
from securefed.run_files import write_checkpoints

HUB = "coordinator"


class Killed(BaseException):
    """The process is gone: nobody may catch this and go on."""


class Dying(MemoryJournal):
    """Keeps what it was given, and is killed right after act number ``at``."""

    def __init__(self, at):
        super().__init__()
        self.left, self._waiting = at, None

    def _act(self, deed):
        if self._waiting is not None:
            self._waiting.append(deed)
            return None
        done = deed()
        self.left -= 1
        if self.left == 0:
            raise Killed
        return done

    def put(self, key, value):
        self._act(lambda: MemoryJournal.put(self, key, value))

    def put_blob(self, data):
        return self._act(lambda: MemoryJournal.put_blob(self, data))

    def keep_blobs(self, digests):
        self._act(lambda: MemoryJournal.keep_blobs(self, digests))

    @contextmanager
    def transaction(self):
        if self._waiting is not None:
            yield
            return
        self._waiting = []
        try:
            yield
            waiting = self._waiting
        finally:
            self._waiting = None
        self._act(lambda: [deed() for deed in waiting])


def model_of(task, number):
    return f"{task} after round {number}".encode()


def play(journal, *, keep_every, tasks=("a", "b"), rounds=5, aborted=()):
    """Run both tasks from wherever the journal is, as a coordinator does."""
    book = Runbook(journal, keep_every=keep_every)
    for position, task in enumerate(tasks):
        if position < book.progress.task:
            continue
        if position > book.progress.task:
            book.begin_task(position)
        while not book.progress.done:
            progress = book.progress
            if not progress.open:
                progress = book.begin_round(book.model or model_of(task, 0))
            number, failed = progress.round_in_task, progress.round_in_task in aborted
            book.end_round(
                RoundRecord(progress.round, task, number, "aborted" if failed else "completed"),
                done=number == rounds,
                bytes_up={},
                model=None if failed else model_of(task, number),
                also=lambda: None,
            )
    return book


def kept(book):
    return [(each.task, each.round_in_task, model) for each, model in book.checkpoints()]


def expected(*numbers):
    return [(task, number, model_of(task, number)) for task in "ab" for number in numbers]


def test_every_so_many_th_model_is_kept_besides_the_final_ones():
    journal = MemoryJournal()
    book = play(journal, keep_every=2)
    assert kept(book) == expected(2, 4)
    assert [book.final_model(task) for task in "ab"] == [model_of(task, 5) for task in "ab"]
    assert len(journal.blobs) == 6


def test_without_keep_every_only_final_models_stay():
    journal = MemoryJournal()
    assert kept(play(journal, keep_every=0)) == []
    assert len(journal.blobs) == 2
    with pytest.raises(MisuseError, match="keep_every"):
        Runbook(journal, keep_every=-1)


def test_rounds_without_a_sum_do_not_count():
    assert kept(play(MemoryJournal(), keep_every=2, aborted=(2, 3))) == expected(4)


def test_checkpoints_outlive_a_kill_after_any_act():
    for at in range(1, 200):
        journal = Dying(at)
        try:
            book = play(journal, keep_every=2)
        except Killed:
            book = play(journal, keep_every=2)
        else:
            break
        assert kept(book) == expected(2, 4), at
    assert at > 40


def test_a_restart_may_keep_more_fewer_or_no_models():
    journal = Dying(25)
    with pytest.raises(Killed):
        play(journal, keep_every=1)
    before = kept(Runbook(journal))
    assert 0 < len(before) < 10
    assert kept(play(journal, keep_every=0)) == before


def test_state_from_before_there_were_checkpoints_still_loads():
    old = msgspec.to_builtins(RunProgress(round=3, round_in_task=3, bytes_up={"north": 1}))
    del old["kept"]
    journal = MemoryJournal()
    journal.put("progress", msgspec.msgpack.encode(old))
    book = Runbook(journal, keep_every=1)
    assert book.progress.round == 3
    assert kept(book) == []


def test_a_checkpoint_that_somebody_removed_is_named():
    journal = MemoryJournal()
    book = play(journal, keep_every=2)
    del journal.blobs[book.progress.kept[0].model]
    with pytest.raises(JournalError, match="gone from the state directory"):
        kept(Runbook(journal))


def test_files_are_named_by_task_and_round(tmp_path):
    write_checkpoints(tmp_path / "out", play(MemoryJournal(), keep_every=4).checkpoints())
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files == {f"{task}.round-4.safetensors": model_of(task, 4) for task in "ab"}


def test_a_coordinator_that_is_started_again_has_the_checkpoints_from_before():
    signed, identities = make_agreement([{**GLM, "rounds": 6}], 3)
    made = NodeFederation(signed, identities, toy_data(3), keep_every=1)

    async def scenario():
        parties = [asyncio.create_task(made.party(name).run()) for name in made.data]
        first = asyncio.create_task(made.coordinator().run())
        await made.until(HUB, "round-completed", 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        before = list(Runbook(made.journals[HUB]).checkpoints())
        made.net.restart_hub()
        report = await made.coordinator().run()
        await asyncio.gather(*parties)
        return before, report

    before, report = asyncio.run(asyncio.wait_for(scenario(), 60))
    after = list(Runbook(made.journals[HUB]).checkpoints())
    rounds = [r.round_in_task for r in report.records if r.outcome == "completed"]
    assert len(before) >= 2
    assert after[: len(before)] == before
    assert [checkpoint.round_in_task for checkpoint, _ in after] == rounds
    assert isinstance(after[-1][0], Checkpoint)
    assert after[-1][1] == report.models["risk"]
    assert len({model for _, model in after}) == len(rounds)
