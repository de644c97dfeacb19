# install · serve · test · lint · bench · audit · sbom · references · trainers · protos · image. VENV=… puts the environment elsewhere.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Which torch: on a machine without GPU, `make install TORCH_INDEX=https://download.pytorch.org/whl/cpu`
# saves some gigabytes of CUDA libraries, and `make test TORCH_INDEX=…` as many for each trainer with torch.
TORCH := torch==2.13.0
TORCH_INDEX ?=
# The oldest grpcio-tools that we support: newer generated code refuses older protobuf runtimes.
PROTOC_VENV := $(VENV)-protoc
PROTOC := grpcio-tools==1.62.3
STUBS := client/softverifier/_pb
GENERATED := build/protos/softverifier/v1
# Packages that only parity tests compare with, each in a folder of its own: what they would have pip
# do to the environment (older torch, older numpy) is never done.
REFERENCES := $(patsubst tests/references/%.txt,build/references/%/.installed,$(wildcard tests/references/*.txt))

# Trainers that tests run for real, each in an environment of its own: they pin what we do not. Each
# file lists all that is imported and nothing else, so nothing is resolved; torch comes first.
TORCHLESS := skyrl verifiers verifiers_legacy
# verifiers 0.3 wants a Python before 3.14; with a newer one its tests are skipped, visibly.
TOO_OLD := $(shell $(PYTHON) -c 'import sys; print("verifiers_legacy" * (sys.version_info >= (3, 14)))' 2>/dev/null)
TRAINERS := $(patsubst tests/trainers/%.txt,build/trainers/%/.installed,$(filter-out tests/trainers/$(TOO_OLD).txt,$(wildcard tests/trainers/*.txt)))

# What checks and lists the environment from outside, so that it is not part of what it lists.
AUDIT_VENV := $(VENV)-audit

ENGINE = $(shell command -v podman || command -v docker)
IMAGE ?= soft-verifier:latest

.PHONY: install serve test lint bench references trainers protos image stubs-are-current audit sbom
.DELETE_ON_ERROR:

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml client/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e 'client[grpc]' -e '.[dev]'
	@touch $@

# ARGS=… passes options on: make serve ARGS="--model models/k562-mlp"
serve: install
	$(BIN)/soft-verifier serve $(ARGS)

references: $(REFERENCES)

build/references/%/.installed: tests/references/%.txt $(VENV)/.installed
	rm -rf $(@D)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(@D) -r $<
	@touch $@

trainers: $(TRAINERS)

build/trainers/%/.installed: tests/trainers/%.txt client/pyproject.toml
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(if $(filter $*,$(TORCHLESS)),,$(@D)/bin/pip install --quiet --disable-pip-version-check $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)))
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps -r $< -e client
	@touch $@

# The environments two at a time: pip keeps one core busy. The first torch is in its cache by then.
test: install
	+@$(MAKE) --no-print-directory -j2 references trainers
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile $(ARGS)

lint: install stubs-are-current
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is installed fits together and is what constraints.txt says. Known vulnerabilities are looked up
# with ONLINE=1 only: the databases (PyPI's, OSV's) are on the internet.
audit: install
	$(BIN)/python -m pip check
	$(BIN)/python -m pytest -q tests/service/security/test_supply.py tests/service/security/test_source.py
ifdef ONLINE
	$(MAKE) $(AUDIT_VENV)/.installed
	$(AUDIT_VENV)/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable
else
	@echo "NOT LOOKED UP: known vulnerabilities; do it where the internet is: make audit ONLINE=1"
endif

# The bill of materials (CycloneDX JSON) of the environment, or of another one: SBOM_OF=/path/to/python.
SBOM_OF ?= $(BIN)/python
sbom: $(AUDIT_VENV)/.installed
	@mkdir -p build
	$(AUDIT_VENV)/bin/cyclonedx-py environment $(SBOM_OF) --of JSON --output-file build/sbom.json
	@echo build/sbom.json

$(AUDIT_VENV)/.installed:
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

bench: install
	$(BIN)/python benchmarks/rewards.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/grpc_floor.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/hostile.py
	$(BIN)/python benchmarks/compat.py
	$(BIN)/python benchmarks/watching.py

$(PROTOC_VENV)/.installed:
	$(PYTHON) -m venv $(PROTOC_VENV)
	$(PROTOC_VENV)/bin/pip install --quiet --disable-pip-version-check $(PROTOC) 'setuptools<81'
	@touch $@

$(GENERATED): $(wildcard protos/softverifier/v1/*.proto) $(PROTOC_VENV)/.installed
	@mkdir -p build/protos
	$(PROTOC_VENV)/bin/python -W ignore -m grpc_tools.protoc -I protos --python_out=build/protos --pyi_out=build/protos protos/softverifier/v1/*.proto
	@touch $@

protos: $(GENERATED)
	cp $(GENERATED)/*_pb2.py $(GENERATED)/*_pb2.pyi $(STUBS)/

stubs-are-current: $(GENERATED)
	@for stub in $(GENERATED)/*_pb2.py*; do cmp $$stub $(STUBS)/$$(basename $$stub) || { echo "run make protos and commit the result"; exit 1; }; done

# The CUDA image: make image IMAGE=soft-verifier:cuda TORCH_INDEX=https://download.pytorch.org/whl/cu126
image:
	@test -n "$(ENGINE)" || { echo "make image needs podman or docker"; exit 1; }
	$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format docker) -t $(IMAGE) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) $(ARGS) .
