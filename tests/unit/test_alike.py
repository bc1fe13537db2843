"""Messages that are encoded piece by piece are those that py-amqp makes."""

from __future__ import annotations

from amqp import Message
from celery import Celery
from celery.app.task import Context
from hypothesis import given
from hypothesis import strategies as st

from coordinator.alike import UNSAID, AlikeMessage, Table, entry, table

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
)
NAMES = st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    headers=st.dictionaries(NAMES, VALUES, max_size=5),
    properties=st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.text(max_size=10),
            "content_encoding": st.text(max_size=10),
            "priority": st.integers(0, 9),
            "correlation_id": NAMES,
        },
    ),
)
def test_message_has_the_bytes_of_py_amqp_whatever_its_headers_are(headers, properties):
    """No header is lost, added or taken for another of its likes, such as True for 1."""
    made, expected = (
        sort("body", application_headers=headers, **properties) for sort in (AlikeMessage, Message)
    )

    assert made._serialize_properties() == expected._serialize_properties()
    assert made.properties["application_headers"] == headers


def test_message_has_its_own_values_when_others_are_equal_to_them():
    """True equals 1 and 1.0 in Python, not in AMQP."""
    for value in (1, True, 1.0, "1", [1], [True], [1.0], 0, False, "", None):
        made, expected = (sort("", application_headers={"x": value}) for sort in (AlikeMessage, Message))

        assert made._serialize_properties() == expected._serialize_properties()


def test_header_stays_off_the_wire_when_celery_means_the_same_without_it():
    """These are what Celery says of every task, and a worker's request has them by itself."""
    every = Celery(set_as_current=False).amqp.as_task_v2("the-id", "the-task").headers
    assert {name: every[name] for name in UNSAID} == UNSAID
    assert {name: getattr(Context(), name) for name in UNSAID} == UNSAID

    said = AlikeMessage("", application_headers=every).properties["application_headers"]

    assert said == {name: value for name, value in every.items() if name not in UNSAID}
    other = dict.fromkeys(UNSAID, 1)
    assert AlikeMessage("", application_headers=other).properties["application_headers"] == other


def test_table_has_the_value_of_now_when_an_object_was_changed_since():
    """A list in a header may grow between two sends and be the same object all the while."""
    tags, inner = ["a"], {"of": ["b"]}
    pair = (1, ["c"])
    made = Table({"id": "1", "tags": tags, "inner": inner, "pair": pair}, {"id", "tags", "inner", "pair"})

    tags.append("d")
    inner["of"].append("e")
    pair[1].append("f")
    values = {"id": "2", "tags": tags, "inner": inner, "pair": pair}

    assert made.of(values) == table(b"".join(entry(*item) for item in values.items()))
