"""The classes of failures."""

from piwheels.core.diagnosis import CLASSES, Diagnosis
from piwheels.core.diagnosis.advice import ADVICE
from piwheels.core.diagnosis.finding import diagnose


def test_each_class_is_complete():
    assert len(CLASSES) >= 30
    for each in CLASSES.values():
        assert each.sentence.endswith((".", "{}.", ": {}.")), each.code
        assert each.page == f"failures.html#{each.code}"
        assert not (each.certain and each.suspends)


def test_only_faults_of_the_farm_suspend_slaves():
    assert {each.fault for each in CLASSES.values() if each.suspends} == {"farm"}


def test_each_class_has_advice():
    assert list(ADVICE) == list(CLASSES)
    for advice in ADVICE.values():
        assert advice.means.endswith(".")
        assert advice.farm.endswith(".")


def test_the_example_of_a_class_is_of_that_class():
    for advice in ADVICE.values():
        if advice.example and advice.code != "master-fault":
            assert diagnose(advice.example).reason == advice.code, advice.example


def test_a_sentence_names_the_subject():
    assert Diagnosis("missing-header", "ffi.h").sentence == (
        "Install the package that has the header ffi.h."
    )
    assert "{" not in Diagnosis("missing-header").sentence
    assert Diagnosis("unheard-of").about.code == "unknown"
    assert Diagnosis("missing-tool", "{0.about}").sentence == "Install the program {0.about}."
