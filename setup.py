"""Build of the native data plane: one extension per module of kvnode/_core.

KVNODE_DEBUG=1 builds with Cython's bound checks and our ASSERT macro.
KVNODE_SANITIZE=1 adds the address and undefined-behaviour sanitizers.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("KVNODE_DEBUG") == "1"
SANITIZE = os.environ.get("KVNODE_SANITIZE") == "1"
CORE = Path("kvnode/_core")

compile_args = ["-std=c++17", "-Wall", "-Wno-unused-function", "-fno-strict-aliasing"]
link_args = []
if DEBUG or SANITIZE:
    compile_args += ["-O1", "-g", "-DKVNODE_DEBUG=1"]
else:
    compile_args += ["-O3", "-g1", "-DCYTHON_CLINE_IN_TRACEBACK=0"]
if SANITIZE:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += flags
    link_args += flags

extensions = [
    Extension(
        f"kvnode._core.{path.stem}",
        [str(path)],
        language="c++",
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        include_dirs=[str(CORE)],
        depends=[str(header) for header in CORE.glob("*.hpp")],
    )
    for path in sorted(CORE.glob("*.pyx"))
]

setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        extensions,
        nthreads=os.cpu_count(),
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": DEBUG,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "legacy_implicit_noexcept": False,
        },
    ),
)
