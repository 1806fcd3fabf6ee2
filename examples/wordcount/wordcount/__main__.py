"""``python -m wordcount FILE …``"""

import sys
from pathlib import Path

from wordcount import most_common

for name in sys.argv[1:]:
    for word, times in most_common(Path(name).read_text()):
        print(f"{times:6} {word}")
