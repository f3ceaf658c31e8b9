"""The answer of an experiment: sentences say what the tables carry, and no more."""

from places import ROOT

from lacuna.reporting.answer import answer_of

REAL = ROOT / "docs/results/three_seeds"


def test_an_answer_of_real_tables_has_a_question_sentences_and_the_main_table():
    answer = answer_of(REAL)
    assert (answer.name, answer.oracles) == ("three_seeds", ("retrain", "retrain_exact"))
    assert 3 <= len(answer.sentences) <= 5
    assert len(answer.rows) == 2 * 3 * 7
