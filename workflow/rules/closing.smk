# What a run says: before its first job, and last.
from lacuna_workflow.run_messages import RunMessages

MESSAGES = RunMessages(workflow, STUDY, TARGETS)


onstart:
    MESSAGES.begin()


onsuccess:
    MESSAGES.succeed()


onerror:
    MESSAGES.fail()
