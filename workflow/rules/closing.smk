# What a run says: before its first job, and last.
from lacuna_workflow.telling import Telling

TELLING = Telling(workflow, STUDY, TARGETS)


onstart:
    TELLING.begin()


onsuccess:
    TELLING.succeed()


onerror:
    TELLING.fail()
