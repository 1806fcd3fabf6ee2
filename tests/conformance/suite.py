"""The conformance suite: what every backend does alike.

A new backend joins with one file: it imports everything from here and adds the fixture ``harness``, which answers
a ``Harness`` (see ``test_local.py``). A topic whose capability the backend does not declare is passed over, and
``TestCapabilities`` checks that the backend says Unsupported. A bug in a backend first becomes a case here.
"""

from .topics.archive import TestArchive
from .topics.batch import TestBatch
from .topics.cancellation import TestCancellation
from .topics.chmod import TestChmod
from .topics.copy import TestCopy
from .topics.delete import TestDelete
from .topics.errors import TestCapabilities, TestErrors
from .topics.find import TestFind
from .topics.gone import TestGone
from .topics.lines import TestLines
from .topics.links import TestLinks
from .topics.listing import TestList, TestNamesOnly
from .topics.mkdir import TestMkdir
from .topics.move import TestMove
from .topics.names import TestNames
from .topics.policy import TestDenied, TestReadOnly
from .topics.reading import TestRead
from .topics.search import TestSearch
from .topics.special import TestSpecialFiles
from .topics.stat import TestStat
from .topics.uploads import TestUploads
from .topics.versions import TestVersions
from .topics.watch import TestWatch
from .topics.writing import TestOldFiles, TestWrite

__all__ = [
    "TestArchive",
    "TestBatch",
    "TestCancellation",
    "TestCapabilities",
    "TestChmod",
    "TestCopy",
    "TestDelete",
    "TestDenied",
    "TestErrors",
    "TestFind",
    "TestGone",
    "TestLines",
    "TestLinks",
    "TestList",
    "TestMkdir",
    "TestMove",
    "TestNames",
    "TestNamesOnly",
    "TestOldFiles",
    "TestRead",
    "TestReadOnly",
    "TestSearch",
    "TestSpecialFiles",
    "TestStat",
    "TestUploads",
    "TestVersions",
    "TestWatch",
    "TestWrite",
]
