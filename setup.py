from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
version = next(
    line.split('"')[1]
    for line in (here / "cimsim" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)
# Both folders stand beside cimsim/ in a checkout and are packaged inside it.
beside = {
    "cimsim.frontends": "frontends",
    "cimsim.frontends.onnx": "frontends/onnx",
    "cimsim.frontends.onnx.operators": "frontends/onnx/operators",
    "cimsim.hwconfigs": "hwconfigs",
}

# Where the project is published; until there is such a place, the package names no URL.
HOME = ""
urls = {
    "Documentation": f"{HOME}/tree/main/docs",
    "Source": HOME,
    "Issues": f"{HOME}/issues",
    "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
} if HOME else {}  # fmt: skip
docs = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]

setup(
    name="cimsim",
    version=version,
    description="Quality, cycles and energy of a network on a computing-in-memory chip",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    author="The cimsim developers",
    project_urls=urls,
    keywords="computing-in-memory, compute-in-memory, crossbar, simulator, neural network, energy",
    python_requires=">=3.11",
    packages=[*find_packages(include=["cimsim", "cimsim.*"]), *beside],
    package_dir=beside,
    package_data={
        "cimsim": ["py.typed"],
        "cimsim.hwconfigs": ["*.yaml", "*.json"],
        "cimsim.report.run.page": ["*.j2", "*.css", "*.js"],
        "cimsim.tasks": ["digits.zip", "digits.txt"],
        "cimsim.zoo": ["weights/*.safetensors", "weights/*.json"],
    },
    install_requires=[
        "av>=12",
        "filelock>=3.13",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "matplotlib>=3.8",
        "networkx>=3.2",
        # its caches and code generators are used beyond what it promises: up to what was tested
        "numba>=0.60,<0.69",
        "numpy>=1.26",
        "pillow>=10",
        "pydantic>=2.7",
        "pywavelets>=1.6",
        "pyyaml>=6",
        "quantiphy>=2.20",
        "rich>=13.7",
        "safetensors>=0.4",
        "scikit-image>=0.24",
        "scipy>=1.11",
        "simplejpeg>=1.7",
        "threadpoolctl>=3.4",
        "tifffile>=2024.1",
        "torch>=2.6",
        "typer>=0.12",
    ],
    extras_require={
        # classical denoisers to stand beside; bm3d's licence is for research only
        "bench": ["bm3d>=4"],
        # cimsim search
        "search": ["optuna>=5"],
        # --scheduler, --cluster
        "cluster": ["asyncssh>=2.14", "dask-jobqueue>=0.9", "distributed>=2025.1"],
        # cimsim device fit of workbooks
        "excel": ["openpyxl>=3.1"],
        # networks from ONNX files
        "onnx": ["onnx>=1.17"],
        # tables as data frames, and what notebooks run in
        "notebook": ["ipykernel>=6.29", "pandas>=2.1"],
        # make docs
        "docs": docs,
        "test": [
            *docs,
            "build>=1.2",
            "distributed>=2025.1",
            "hypothesis>=6.100",
            "imageio-ffmpeg>=0.5",
            "ipykernel>=6.29",
            "jsonschema>=4.20",
            "mypy>=1.10",
            "nbclient>=0.10",
            "onnx>=1.17",
            "onnxscript>=0.5",
            "openpyxl>=3.1",
            "optuna>=5",
            "pandas>=2.1",
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "simpy>=4.1",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["cimsim = cimsim.entry:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Intended Audience :: Education",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Electronic Design Automation (EDA)",
        "Topic :: Scientific/Engineering :: Physics",
        "Typing :: Typed",
    ],
)
