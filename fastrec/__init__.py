"""fastrec: from a folder of pictures to a deployed, watched classifier, in seven notebooks.

    pictures -> collect -> preprocess -> train -> tune -> evaluate -> deploy -> monitor
                   |           |           |       |         |          |         |
                manifest     splits      bundle  trials    metrics   package    drift
                rejected     cache       history bundle  predictions  (ONNX)    (log)

One stage is one notebook, one sub-package, one folder of a run, one section of a config and one
page of the report.  Stages talk through files alone; ``fastrec.artefacts`` names every one.
"""

import os

__version__ = "0.1.0"

# Arrow's own allocator keeps freed memory from all other libraries, and they theirs from it: one heap serves all
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
