"""What is on disk: verified files, a journal of what was received, and an index of both.

::

    <root>/                                  mode 0700, every file 0600
      index.sqlite                           a view of the journals; built again when lost
      <holder>/<patient>/record.ndjson       the journal: what was received, and when
      <holder>/<patient>/<study>/<series>/<instance>.dcm
      quarantine/<holder>/<patient>/<study>/ files that were received and did not belong
      tokens/                                only after ``connect(remember="file")``
"""

from .participant import Entry, Participant, Run, SyncPoint
from .receive import Receiver, Rejected
from .store import Store
from .study_folder import FileProblem, StoredInstance, StudyFolder

__all__ = [
    "Entry",
    "FileProblem",
    "Participant",
    "Receiver",
    "Rejected",
    "Run",
    "Store",
    "StoredInstance",
    "StudyFolder",
    "SyncPoint",
]
