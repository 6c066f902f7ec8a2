"""A machine that does the same to every store, and compares them with the memory store."""

import uuid

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fakes.thoroughness import examples
from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import Add, Check, Condition, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.memory import MemoryStore

SORT_KEYS = st.sampled_from(["HEAD", "TURN#1", "TURN#10", "TURN#2", "TURN#é", "Z"])
PREFIXES = st.sampled_from(["", "TURN#", "TURN#1", "H", "nothing"])
NAMES = st.sampled_from(["n", "m", "status", "a.b"])
NUMBERS = st.integers(-3, 3)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.sampled_from(["", "x", "ü"]),
    st.lists(NUMBERS, max_size=2),
    st.dictionaries(st.sampled_from(["k", "l"]), NUMBERS, max_size=2),
)
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=3)
CONDITIONS = st.builds(
    Condition,
    st.sampled_from([None, None, True, False]),
    st.dictionaries(NAMES, VALUES, max_size=1),
    st.dictionaries(NAMES, NUMBERS, max_size=1),
)
EXPIRIES = st.sampled_from([None, 1_900_000_000, 2_000_000_000])


@st.composite
def adds(draw, pk):
    add = draw(st.dictionaries(NAMES, NUMBERS, max_size=2))
    assign = {name: value for name, value in draw(ATTRIBUTES).items() if name not in add}
    return Add(Key(pk, draw(SORT_KEYS)), add, assign, draw(EXPIRIES), draw(CONDITIONS))


@st.composite
def puts(draw, pk):
    item = Item(Key(pk, draw(SORT_KEYS)), draw(ATTRIBUTES), draw(EXPIRIES))
    return Put(item, draw(CONDITIONS))


@st.composite
def transactions(draw, pk):
    checks = st.builds(lambda sk, condition: Check(Key(pk, sk), condition), SORT_KEYS, CONDITIONS)
    actions = draw(st.lists(st.one_of(puts(pk), adds(pk), checks), min_size=1, max_size=4))
    by_key = {
        action.item.key if isinstance(action, Put) else action.key: action for action in actions
    }
    return list(by_key.values())


def outcome(work):
    """What an operation returns, or which refusal it raises with what stands there."""
    try:
        return work()
    except ConditionFailedError as error:
        return "condition", error.current
    except StoreRefusedError:
        return "refused"


@pytest.fixture(params=["sqlite", "ministack", "redis"])
def other(request, open_at, tmp_path):
    if request.param == "sqlite":
        return open_at(f"sqlite:///{tmp_path}/file.db")
    if request.param == "redis":
        return open_at(request.getfixturevalue("redis_server").url)
    endpoint = request.getfixturevalue("ministack")
    return open_at("dynamodb://lambdallm-contract", AWS_ENDPOINT_URL=endpoint)


def test_every_store_does_as_the_memory_store(other):
    stores = (MemoryStore(SystemClock()), other)
    deadline_ms = SystemClock().epoch_ms() + 600_000

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.pk = f"AGREE#{uuid.uuid4()}"

        def same(self, work):
            first, second = (outcome(lambda store=store: work(store)) for store in stores)
            assert first == second

        @rule(data=st.data())
        def put(self, data):
            put = data.draw(puts(self.pk))
            self.same(lambda store: store.put_if(put, deadline_ms=deadline_ms))

        @rule(data=st.data())
        def add(self, data):
            add = data.draw(adds(self.pk))
            self.same(lambda store: store.add_if(add, deadline_ms=deadline_ms))

        @rule(data=st.data())
        def transact(self, data):
            actions, token = data.draw(transactions(self.pk)), uuid.uuid4().hex
            self.same(lambda store: store.transact(actions, token=token, deadline_ms=deadline_ms))

        @rule(sk=SORT_KEYS)
        def get(self, sk):
            self.same(lambda store: store.get(Key(self.pk, sk), deadline_ms=deadline_ms))

        @rule(
            prefix=PREFIXES, first=PREFIXES,
            reverse=st.booleans(), limit=st.sampled_from([None, 1, 2]),
        )  # fmt: skip
        def query(self, prefix, first, reverse, limit):
            self.same(
                lambda store: store.query(
                    self.pk, prefix, first=first if first <= prefix else "",
                    reverse=reverse, limit=limit, deadline_ms=deadline_ms,
                )
            )  # fmt: skip

        def teardown(self):
            self.same(lambda store: store.query(self.pk, "", deadline_ms=deadline_ms))

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
    )
